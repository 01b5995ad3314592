// System calls about descriptors, made one by one in a thread of the inferior, with arguments in
// its memory: what must be made by the program itself to be its own (credentials of sockets,
// numbers in an epoll set, its own /proc files).
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "base/types.hpp"
#include "tracee/memory.hpp"
#include "tracee/remote.hpp"

namespace ckpt::tracee {

class RemoteCalls {
 public:
  /// `buffer`: memory of the inferior for arguments and answers. `first_free_fd`: where descriptors
  /// may be kept that have not got their final number yet; none at or above it is in use.
  RemoteCalls(RemoteThread& thread, const Memory& memory, Addr buffer, std::uint64_t buffer_bytes,
              int first_free_fd);

  /// The raw result: -errno on failure. Arguments put into the buffer before are forgotten.
  std::int64_t attempt(long number, std::initializer_list<std::uint64_t> arguments);
  /// The same; throws Error naming `what` when it fails.
  std::uint64_t call(const char* what, long number, std::initializer_list<std::uint64_t> arguments);
  /// For calls that return a descriptor: it is moved out of the way of all final numbers.
  int open(const char* what, long number, std::initializer_list<std::uint64_t> arguments);
  /// The same for a descriptor that a call has stored somewhere.
  int move_away(int fd);
  void close(int fd);

  /// Copies an argument into the inferior, where it stays until the next call is done.
  /// Throws Error (refused) when it is larger than the buffer.
  Addr put(std::span<const std::byte> bytes);
  Addr put(std::string_view bytes) { return put(std::as_bytes(std::span(bytes))); }
  /// The string with its end.
  Addr put_string(const std::string& text) {
    return put(std::string_view(text.c_str(), text.size() + 1));
  }
  template <typename T>
  Addr put_value(const T& value) {
    return put(std::as_bytes(std::span(&value, 1)));
  }
  /// Room for an answer; it can be read until something is put after the call.
  Addr reserve(std::uint64_t bytes);
  template <typename T>
  [[nodiscard]] T read(Addr from) const {
    return memory_.read_value<T>(from);
  }

  /// The process in which the calls are made.
  [[nodiscard]] Tid pid() const { return thread_.group(); }
  [[nodiscard]] std::uint64_t room_bytes() const { return buffer_bytes_; }

 private:
  RemoteThread& thread_;
  const Memory& memory_;
  Addr buffer_;
  std::uint64_t buffer_bytes_;
  std::uint64_t used_bytes_ = 0;
  int next_fd_;
};

}  // namespace ckpt::tracee
