// The store's directory: where it is, what lies where in it, whom it belongs to, and who uses it.
// docs/format.md describes it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"

namespace ckpt::store {

/// How the names of snapshots' files end.
constexpr std::string_view kSuffix = ".ckpt";

/// What lies where.
struct Layout {
  std::string root;

  [[nodiscard]] std::string snapshots() const { return root + "/snapshots"; }
  [[nodiscard]] std::string objects() const { return root + "/objects"; }
  [[nodiscard]] std::string index() const { return root + "/index"; }
  [[nodiscard]] std::string external() const { return root + "/external"; }
  [[nodiscard]] std::string debug() const { return root + "/debug"; }
  [[nodiscard]] std::string scratch() const { return root + "/scratch"; }
  /// What is known of who has saved what; gdbext/store/marks.py writes it.
  [[nodiscard]] std::string sessions() const { return index() + "/sessions"; }
  [[nodiscard]] std::string imported() const { return index() + "/imported"; }
  /// The snapshot called `name`.
  [[nodiscard]] std::string snapshot(const std::string& name) const;
  /// Whether the file is one of snapshots(), by whatever path.
  [[nodiscard]] bool holds(const std::string& image_path) const;
  /// Where all is kept that has a content's hash, in the directory of its group.
  [[nodiscard]] std::string group(const std::string& hash) const;
  [[nodiscard]] std::string contents(const std::string& hash) const;
  /// The object with that hash and name, there or not; nothing for what is none of an object: a
  /// record may come from anybody, and must not name files elsewhere.
  [[nodiscard]] std::optional<std::string> object(const std::string& hash,
                                                  const std::string& name) const;
};

/// Whether it is the hash of a content: 32 hex digits.
bool is_hash(const std::string& text);

/// The name of the snapshot in a file of snapshots(); "" for another file.
std::string snapshot_name(const std::string& file_name);

/// The names of what is in a directory of the store, sorted; none where there is no directory.
/// Throws Error where there is one that cannot be read: what is in it may be needed.
std::vector<std::string> names_in(const std::string& directory);

/// Where the store is by default: $CKPT_DIR, else $XDG_DATA_HOME/ckpt, else
/// ~/.local/share/ckpt. Throws Error where there is no home either.
std::string default_directory();

/// Whether there is a store in the directory `root`. Throws Error (refused) when there is one that
/// is not the user's own, or that others may write to: it holds secrets, and what is executed.
/// Nothing of it is ever repaired.
bool check_directory(const std::string& root);

/// Makes what is missing of the store, for its owner alone. Throws Error when that fails, when
/// check_directory() does, and when it cannot be written to.
void create_directory(const std::string& root);

/// Where an object is to be written that has this hash and this name, which are those of one (see
/// Layout::object()): makes the directories above it. Throws Error.
std::string make_place(const std::string& root, const std::string& hash, const std::string& name);

/// Keeps the store's contents from being collected as long as the result lives: a save counts on
/// objects that no published image names yet, a restore on those of an image that may be deleted
/// meanwhile. Waits for a collection to end. Nothing to hold if there is no such directory. A lock
/// (flock(2)) ends with its descriptor, so a killed process leaves none behind.
/// `on_signal` is called when a signal has interrupted the waiting; what it throws ends it.
UniqueFd hold(const std::string& root, const std::function<void()>& on_signal = {});

/// The store for oneself alone, to collect what is not needed; nothing while another process holds
/// it.
UniqueFd hold_alone(const std::string& root);

}  // namespace ckpt::store
