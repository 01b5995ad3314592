// Writes a snapshot file. Until publish() the file has no name: a save that fails or is interrupted
// leaves nothing behind.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/format.hpp"
#include "image/reader.hpp"

namespace ckpt::image {

/// A file that gets its name only when it is complete. Mode 0600.
class PendingFile {
 public:
  /// `path`: the final name, in a directory that exists. Throws Error (exists) if it is taken and
  /// `overwrite` is false, now and again in publish().
  PendingFile(std::string path, bool overwrite, unsigned mode = 0600);
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;
  ~PendingFile();

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  void publish();

 private:
  std::string path_;
  bool overwrite_;
  UniqueFd fd_;
  std::string temporary_name_;  // empty while the file has no name at all (O_TMPFILE)
};

/// The CKPT note as it stands in the file `path`, not sealed yet: its length is needed for the
/// headers, whose digest it holds.
std::vector<std::byte> make_record_note(const Json& record, const std::string& path);
/// Puts the digest of what surrounds it into the note: of the headers and of the other notes.
void seal_record_note(std::span<std::byte> note, std::span<const std::byte> front,
                      std::span<const std::byte> others);

class Writer {
 public:
  /// Assigns file offsets to the segments (in place). The file need not be written in order.
  Writer(std::string path, bool overwrite, std::vector<Segment>& segments);

  /// Writes memory content; called from any thread.
  void write_memory(std::span<const std::byte> bytes, std::uint64_t file_offset);

  /// Writes headers, notes and the record. The file is complete then; once more with a record that
  /// is no shorter, it has that one.
  void finish(const std::vector<Note>& notes, const Json& record);
  /// What was written, to be read as if it had its name already.
  [[nodiscard]] Reader read_back(Json record) const;
  /// Gives the file its name. Returns the bytes that it takes on disk.
  std::uint64_t publish();

 private:
  PendingFile file_;
  std::vector<Segment> segments_;
  std::uint64_t notes_offset_ = 0;
};

}  // namespace ckpt::image
