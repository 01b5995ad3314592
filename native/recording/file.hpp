// A recording's file: a header and chunks, each compressed and with a digest, which are only
// appended. What was complete stays readable whatever becomes of the writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "recording/event.hpp"

namespace ckpt::recording {

inline constexpr std::uint32_t kFormatVersion = 1;

class Writer {
 public:
  /// Makes the file, which must not exist unless `replace`. Throws Error.
  Writer(const std::string& path, bool replace);

  void begin(const Start& start);
  void append(const Event& event);
  /// Writes what has been collected as a chunk.
  void flush();

  [[nodiscard]] std::uint64_t events() const { return events_; }
  [[nodiscard]] std::uint64_t file_bytes() const { return file_bytes_; }

 private:
  std::string path_;
  UniqueFd fd_;
  std::vector<std::byte> collected_;
  std::uint64_t events_ = 0;
  std::uint64_t file_bytes_ = 0;
};

/// Reads a recording, which is untrusted.
class Reader {
 public:
  /// Throws Error: damaged for what is no recording, unsupported for another version.
  explicit Reader(const std::string& path);
  explicit Reader(UniqueFd fd);

  [[nodiscard]] const Start& start() const { return start_; }
  /// The next event; nothing at the end. Throws Error (damaged).
  std::optional<Event> next();
  /// Where in the file the next chunk begins, once all events of those before it are taken.
  [[nodiscard]] std::optional<std::uint64_t> chunk_ahead() const;
  /// Goes on with the chunk that begins there, as chunk_ahead() has told.
  void go_to_chunk(std::uint64_t offset);
  /// Whether the last chunk was not whole: the recorder was killed.
  [[nodiscard]] bool cut_off() const { return cut_off_; }

 private:
  bool load_chunk();
  void open();

  UniqueFd fd_;
  std::uint64_t offset_ = 0;
  std::uint64_t size_bytes_ = 0;
  Start start_;
  std::vector<std::byte> chunk_;
  std::span<const std::byte> rest_;
  bool cut_off_ = false;
};

}  // namespace ckpt::recording
