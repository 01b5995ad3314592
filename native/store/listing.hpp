// The snapshots of a store, and what they are called: the names in a list are all different, and
// each leads to the snapshot beside it, no matter which program wrote them.
//
// A snapshot in the store is called what its file is called. One elsewhere (see links.hpp) is
// called what it says of itself, or if that is no name what its file is called; where another one
// has that name already, which is in the store or was there earlier, it is NAME-2, or the first
// number behind that which is free. Nothing that a file elsewhere says takes a name away.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace ckpt::store {

struct Listed {
  std::string name;
  std::string path;  // of the image
  bool external = false;
  double noted_s = 0;  // when the store has learned of one elsewhere, in Unix seconds
};

/// What the record of the image at a path says that it is called; "" when it cannot be read.
using SaidName = std::function<std::string(const std::string& path)>;
std::string said_name(const std::string& path);

/// All snapshots: those in the store by their names, then those elsewhere whose files are there.
/// Only these are read. None if there is no store; throws Error as check_directory() does.
std::vector<Listed> list(const std::string& root, const SaidName& said = &said_name);

/// All images that count on what is kept in the store: the snapshots of list(), and those that are
/// only claimed.
std::vector<std::string> images(const std::string& root);

/// The snapshot called `name`, if there is one.
std::optional<Listed> find(const std::string& root, const std::string& name,
                           const SaidName& said = &said_name);

/// PROGRAM-N for the program at the path `program`, with N one more than the largest in use;
/// PROGRAM-KIND-N with a kind.
std::string default_name(const std::string& root, const std::string& program,
                         const std::string& kind = "", const SaidName& said = &said_name);

/// What a snapshot that is written to `file`, outside the store, shall say that it is called: what
/// the file is called, as far as that may be a name, or the next one that no other snapshot has.
std::string name_for_file(const std::string& root, const std::string& file,
                          const SaidName& said = &said_name);

}  // namespace ckpt::store
