// /proc/PID/maps and /proc/PID/smaps (proc(5)): what is mapped where, and with which advice.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.hpp"

namespace ckpt::proc {

struct Mapping {
  Addr start;
  Addr end;
  bool read = false;
  bool write = false;
  bool exec = false;
  bool shared = false;
  std::uint64_t offset_bytes = 0;
  std::uint32_t dev_major = 0;
  std::uint32_t dev_minor = 0;
  std::uint64_t inode = 0;
  std::string path;  // without the " (deleted)" mark; newlines unescaped
  bool deleted = false;
  std::vector<std::string> flags;  // two-letter VmFlags, smaps only
  int protection_key = 0;
  std::uint64_t page_bytes = kPageSize;  // KernelPageSize, smaps only

  [[nodiscard]] std::uint64_t size() const { return end - start; }
  [[nodiscard]] bool has_flag(std::string_view flag) const;
  /// Backed by something with an inode: a file, a memfd, shared anonymous memory, SysV shm.
  [[nodiscard]] bool has_object() const { return inode != 0; }
  /// "[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]": made by the kernel at exec.
  [[nodiscard]] bool is_kernel_special() const;
  [[nodiscard]] bool contains(Addr address) const { return address >= start && address < end; }
};

/// Parses maps or smaps text. Throws Error (kind unsupported) naming the line it cannot parse.
std::vector<Mapping> parse_maps(std::string_view text);

}  // namespace ckpt::proc
