// A file of the program's as it was at the save, and the decision at a restore whether the file in
// the file system is still that file. Used for open descriptors and for mappings alike.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/format.hpp"
#include "image/objects.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct KeptFile {
  std::string path;
  bool deleted = false;    // had no name (any more) at the save
  bool in_memory = false;  // a memfd; `path` is "/memfd:NAME"
  std::uint32_t seals = 0;
  std::uint64_t huge_page_bytes = 0;  // in a hugetlbfs: its page size
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::optional<image::ObjectRef> object;  // the content, if it was kept
};

image::Json kept_file_to_json(const KeptFile& file);
KeptFile kept_file_from_json(const image::Json& json);
image::Json object_to_json(const image::ObjectRef& object);
image::ObjectRef object_from_json(const image::Json& json);

/// Describes an open file; no content is kept.
KeptFile describe_file(const struct stat& status, const std::string& path, bool deleted);

enum class Found {
  same,        // the file is what it was
  changed,     // other size or content
  missing,     // nothing of that name, or not a regular file
  unreadable,  // it may not be opened any more
};

/// The name that memfd_create(2) was given, or would be for a copy.
std::string memfd_name(const KeptFile& file);

/// Looks at the file system. Reads the content only if the identity leaves a doubt, or if it is
/// asked for and small.
Found look_for(const KeptFile& file, bool by_content = false);
/// "has changed", "is gone", ...
std::string_view found_text(Found found) noexcept;

/// Gives out the files of a snapshot for a restore: the real ones or scratch copies, each scratch
/// copy made once however many descriptors and mappings use it.
class FileSource {
 public:
  /// `stores`: where to look for kept contents, in this order; scratch copies are made in the
  /// first one that can be written to, else in memory.
  FileSource(std::vector<image::Objects> stores, RestoreOptions options);

  enum class Use {
    data,  // an open descriptor or shared mapping: the files mode decides
    code,  // a private mapping: must have the content it had
  };

  /// Decides without opening anything for the program. Throws Error (files) when the file cannot
  /// come back in the mode that was asked for. Notes what the user should know.
  void check(const KeptFile& file, Use use);

  /// After all files were checked. Throws Error (files) naming a file that was to be replaced
  /// (OLD=NEW) but that the program does not have.
  void check_replacements() const;

  /// Opens the file as decided; `flags` as in open(2). Offsets are the caller's.
  UniqueFd open(const KeptFile& file, Use use, int flags);

  /// The path that holds the file's content on disk: the file itself or the store's copy.
  /// Throws Error (files) if there is neither.
  std::string content_path(const KeptFile& file);

  /// For a file that was given out with huge pages, of which there are too few: the next open()
  /// makes it anew, with ordinary ones. False if it has none of ours.
  bool use_ordinary_pages(const KeptFile& file);

  /// Seals the memfds that were given out, when all is mapped and written.
  void seal();

  [[nodiscard]] bool is_scratch(const KeptFile& file, Use use);
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  void note(std::string text) { notes_.push_back(std::move(text)); }
  [[nodiscard]] const RestoreOptions& options() const { return options_; }

 private:
  struct Choice {
    bool scratch = false;
    std::string path;  // the real file
  };
  const Choice& choose(const KeptFile& file, Use use);
  [[nodiscard]] std::optional<std::string> find_object(const KeptFile& file) const;
  int scratch_copy(const KeptFile& file);
  UniqueFd make_huge_copy(const KeptFile& file, const std::string& source, unsigned flags);
  static std::string key(const KeptFile& file);

  std::vector<image::Objects> stores_;
  RestoreOptions options_;
  std::map<std::string, Choice> data_choices_;
  std::map<std::string, Choice> code_choices_;
  std::map<std::pair<std::string, bool>, Found> looks_;
  std::map<std::string, UniqueFd> scratch_;
  std::map<std::string, std::uint32_t> seals_;
  std::set<std::string> ordinary_pages_;  // wanted huge ones
  std::set<std::string> replaced_;
  std::vector<std::string> notes_;
};

}  // namespace ckpt::state
