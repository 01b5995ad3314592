// Links in the store to snapshots that lie elsewhere, so that what these need is kept.
#pragma once

#include <string>
#include <vector>

namespace ckpt::store {

enum class LinkKind {
  listed,  // this user has saved it with this store
  claim,   // it was restored here: its objects are kept, but it is not listed, since this user has
           // not given it its name and its date
};

struct Link {
  std::string path;    // of the link; its name means nothing but the kind
  std::string target;  // of the snapshot, which need not be there
  LinkKind kind = LinkKind::listed;
  double made_s = 0;  // in Unix seconds
};

/// The links of the store in `root`, in the order in which they were made. Throws Error.
std::vector<Link> links(const std::string& root);

/// Makes a link to the image, unless one leads to it already that is no less: a claim is less than
/// what lists it. The link's path, if it was made, else "". Throws Error.
std::string add_link(const std::string& root, const std::string& image_path, LinkKind kind);

/// Claims an image for the store that its record names as `saved_with`, if that is this one and the
/// image lies outside. Throws nothing: using a snapshot must not fail for it.
void claim(const std::string& root, const std::string& image_path,
           const std::string& saved_with) noexcept;

/// Removes all links to an image, which stays where it is. Throws nothing.
void remove_links(const std::string& root, const std::string& image_path) noexcept;

/// Removes the links that lead nowhere any more. Throws Error.
void remove_dead_links(const std::string& root);

}  // namespace ckpt::store
