// The memory of a process from outside.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/types.hpp"
#include "base/unique_fd.hpp"

namespace ckpt::tracee {

class Memory {
 public:
  /// Opens /proc/PID/mem; needs ptrace access to the process, which need not be stopped.
  explicit Memory(Tid pid);

  /// Reads exactly; protections do not matter (PROT_NONE reads as well). Throws Error (system)
  /// naming the address.
  void read(Addr from, std::span<std::byte> into) const;
  /// Reads as much as can be read from `from` on; returns the bytes read.
  std::size_t read_some(Addr from, std::span<std::byte> into) const;
  /// Writes exactly, read-only mappings included (the page is copied first when private).
  void write(Addr to, std::span<const std::byte> bytes) const;

  template <typename T>
  [[nodiscard]] T read_value(Addr from) const {
    T value{};
    read(from, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <typename T>
  void write_value(Addr to, const T& value) const {
    write(to, std::as_bytes(std::span(&value, 1)));
  }

  /// The fast way for bulk data: process_vm_readv, which may be called from any of our threads,
  /// falling back on /proc/PID/mem for what it may not read.
  void read_bulk(Addr from, std::span<std::byte> into) const;
  /// Likewise for several ranges, one behind the other.
  struct Range {
    Addr start;
    std::size_t size_bytes = 0;
  };
  void read_bulk(std::span<const Range> ranges, std::span<std::byte> into) const;

 private:
  Tid pid_;
  UniqueFd fd_;
};

}  // namespace ckpt::tracee
