// What libckpt.so has in place of a C library: system calls, threads of a moment, signal handlers,
// strings.
//
// It is loaded into programs before any of their own code runs, and the C library need not be ready
// then. When libc.so.6 itself is the program (it prints its version), the dynamic linker relocates
// it last, after the preloaded libraries; whatever these call in it by then crashes, and so does
// the mere binding of strlen or memcpy, whose addresses are found by running code of it (IFUNC).
// musl has another C library, with other functions and versions of them. So nothing is imported.
#pragma once

#include <fcntl.h>
#include <linux/limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>

#include "arch/bare.hpp"

namespace ckpt::preload {

using arch::call;
using arch::clone_running;
using arch::return_from_handler;
using arch::word;

template <std::size_t Size>
using Text = std::array<char, Size>;

// -- system calls --

/// The kernel's form of an action.
struct Action {
  const void* handler = nullptr;
  unsigned long flags = 0;
  void (*restorer)() = nullptr;
  std::uint64_t blocked = 0;
};

inline Action action_of(int signal) {
  Action action;
  call(SYS_rt_sigaction, signal, 0, word(&action), sizeof action.blocked);
  return action;
}

using SignalHandler = void (*)(int, siginfo_t*, void*);

/// Installs a handler during which all signals are blocked.
inline void handle(int signal, SignalHandler handler) {
  constexpr unsigned long kHasRestorer = 0x04000000;
  const Action action{reinterpret_cast<const void*>(handler),
                      SA_SIGINFO | SA_RESTART | SA_ONSTACK | kHasRestorer, &return_from_handler,
                      ~std::uint64_t{0}};
  call(SYS_rt_sigaction, signal, word(&action), 0, sizeof action.blocked);
}

// -- strings --

inline std::size_t length(const char* text) {
  std::size_t count = 0;
  while (text[count] != 0) ++count;
  return count;
}

/// What follows `beginning` in the text; null if it does not begin so.
inline const char* after(const char* text, const char* beginning) {
  for (; *beginning != 0; ++text, ++beginning)
    if (*text != *beginning) return nullptr;
  return text;
}

inline bool equal(const char* one, const char* other) {
  const char* rest = after(one, other);
  return rest != nullptr && *rest == 0;
}

/// The number that the whole text is, in decimal; -1 if it is none, or above `most`.
inline int number_in(const char* text, int most) {
  if (*text == 0) return -1;
  int number = 0;
  for (; *text != 0; ++text) {
    if (*text < '0' || *text > '9') return -1;
    number = number * 10 + (*text - '0');
    if (number > most) return -1;
  }
  return number;
}

/// A text that is put together of parts; what does not fit is left out.
template <std::size_t Size>
class Line {
 public:
  Line& operator<<(const char* part) {
    while (*part != 0 && used_ + 1 < Size) text_[used_++] = *part++;
    return *this;
  }
  [[nodiscard]] const char* text() const { return text_.data(); }
  [[nodiscard]] std::size_t size() const { return used_; }

 private:
  Text<Size> text_{};
  std::size_t used_ = 0;
};

// -- files --

/// A file that is read byte by byte. It has a descriptor no longer than it lives.
class File {
 public:
  explicit File(const char* path)
      : fd_(static_cast<int>(call(SYS_open, word(path), O_RDONLY | O_CLOEXEC))) {}
  ~File() {
    if (fd_ >= 0) call(SYS_close, fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  /// The next byte; -1 at the end, and when the file cannot be read.
  int next() {
    if (at_ == have_) {
      if (fd_ < 0) return -1;
      long got = 0;
      do got = call(SYS_read, fd_, word(buffer_.data()), static_cast<long>(buffer_.size()));
      while (got == -EINTR);
      if (got <= 0) return -1;
      at_ = 0;
      have_ = static_cast<std::size_t>(got);
    }
    return static_cast<unsigned char>(buffer_[at_++]);
  }

  /// The bytes up to `end`, which is dropped; what does not fit is dropped, too. False at the end
  /// of the file.
  template <std::size_t Size>
  bool next_until(char end, Text<Size>& text) {
    std::size_t used = 0;
    int byte = next();
    if (byte < 0) return false;
    for (; byte >= 0 && byte != static_cast<unsigned char>(end); byte = next())
      if (used + 1 < Size) text[used++] = static_cast<char>(byte);
    text[used] = 0;
    return true;
  }

 private:
  int fd_;
  Text<4096> buffer_{};
  std::size_t at_ = 0;
  std::size_t have_ = 0;
};

}  // namespace ckpt::preload
