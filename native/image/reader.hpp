// Reads a snapshot file. A snapshot is untrusted input: every number is checked before it is used,
// and whatever is wrong is an Error (damaged or unsupported), never a crash. A file costs no more
// memory and time than is in proportion to what is stored of it: holes do not count.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/format.hpp"

namespace ckpt::image {

class Reader {
 public:
  /// Opens a file and checks header, notes and record; reads no memory.
  static Reader open(const std::string& path);
  /// The same for a file that is open already (and is taken over).
  static Reader from_fd(UniqueFd fd, const std::string& path);
  /// The same for one that was just written with that record: its bytes are checked, but what they
  /// say, which is known, is not made of them again.
  static Reader written(UniqueFd fd, const std::string& path, Json record);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Length of the file, holes included.
  [[nodiscard]] std::uint64_t file_bytes() const { return file_bytes_; }
  /// What the file takes on disk.
  [[nodiscard]] std::uint64_t disk_bytes() const { return disk_bytes_; }
  [[nodiscard]] const Json& record() const { return record_; }
  [[nodiscard]] const std::vector<Extent>& extents() const { return extents_; }
  /// ELF header, program headers, and the section header if there is one.
  [[nodiscard]] std::uint64_t front_bytes() const { return front_bytes_; }
  /// Where the notes stand, and how many bytes of them precede ours.
  [[nodiscard]] std::uint64_t notes_offset() const { return notes_offset_; }
  [[nodiscard]] std::uint64_t other_notes_bytes() const { return other_notes_bytes_; }

  /// Checks the digest of every extent, on as many threads as there are processors.
  /// `progress` (may be empty) gets bytes done and in all, on the calling thread; returning false
  /// ends with Error (interrupted).
  void verify_memory(const std::function<bool(std::uint64_t, std::uint64_t)>& progress) const;

 private:
  Reader(UniqueFd fd, std::string path, Json record);
  void check_extents() const;

  UniqueFd fd_;
  std::string path_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t disk_bytes_ = 0;
  std::uint64_t front_bytes_ = 0;
  std::uint64_t notes_offset_ = 0;
  std::uint64_t other_notes_bytes_ = 0;
  Json record_;
  std::vector<Extent> extents_;
};

}  // namespace ckpt::image
