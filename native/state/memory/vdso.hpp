// The kernel's own pages in a program: the vdso, which is code for calls that need no system call,
// and the vvar pages, the clocks that this code reads. A program has addresses in its vdso (in the
// C library, in return addresses, in symbols that a debugger has read), and each build of a kernel
// has another one.
//
// A program restored under another kernel keeps the vdso that it knows, as memory of its own, and a
// proxy redirects each function of it to the same function of the running kernel:
//
//   [vvar][vdso]   where they were: zeros, which mean "no clock source: make the system call", and
//                  the code of the snapshot's kernel. Each function begins with a jump
//   proxy          somewhere else: a copy of the same pages without the jumps, for threads that are
//                  stopped where a jump is; then the header, with the calls behind the jumps of
//                  functions that this kernel has not
//   [vvar][vdso]   behind the proxy: the running kernel's own, to which the others jump. The kernel
//                  mapped them elsewhere, and their code finds its data by the distance
//
// A save of such a program holds none of that: the header says where the pages of the old kernel
// are, and the copy what was in them, so that the snapshot is one of the old kernel again.
//
// Pure: what is planned here is carried out by snapshot/kernel_pages.cpp. The vdso of a snapshot
// and a header in a program are untrusted input: every number in them is checked before its use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "arch/arch.hpp"
#include "base/types.hpp"
#include "proc/maps.hpp"
#include "proc/pagemap.hpp"
#include "state/memory/address_space.hpp"

namespace ckpt::state {

struct KernelPages {
  std::vector<proc::Mapping> pages;  // in ascending order, without [vsyscall]
  std::vector<std::byte> vdso;       // empty: there is none
  [[nodiscard]] const proc::Mapping* vdso_page() const;
  /// From the beginning of the first to the end of the last, gaps included.
  [[nodiscard]] proc::PageRun span() const;
};

/// Whether a program with `saved` pages can have `own` ones in their place.
bool same_kernel_pages(const KernelPages& saved, const KernelPages& own);

struct VdsoFunction {
  std::string name;              // as the kernel's own begin: "__vdso_time"
  std::uint64_t offset = 0;      // in the vdso
  std::uint64_t room_bytes = 0;  // to the next function or the end of the vdso
};

/// The functions that a vdso exports, in ascending order, each once. Whatever makes no sense is
/// left out.
std::vector<VdsoFunction> vdso_functions(std::span<const std::byte> vdso);

/// What one jump takes of the function's beginning.
inline constexpr std::uint64_t kVdsoJumpBytes = arch::kFarJumpBytes;

struct VdsoJump {
  std::uint64_t offset = 0;  // in the vdso
  Addr target;
};

/// The beginning of a proxy's page behind the copy.
struct VdsoProxyHeader {
  struct Page {
    std::array<char, 24> path;
    std::uint64_t start;
    std::uint64_t end;
    std::uint64_t flags;  // PF_R | PF_W | PF_X
  };
  std::uint64_t magic;
  std::uint64_t self;  // its own address
  std::uint64_t pages;
  std::array<char, 64> kernel;  // whose pages those are
  std::array<Page, 8> page;
};

/// A proxy in a program.
struct VdsoProxy {
  std::string kernel;  // the release whose pages the program knows
  std::vector<proc::Mapping> pages;
  proc::PageRun copy;
  Addr header;

  [[nodiscard]] proc::PageRun whole() const { return {copy.start, header + kPageSize}; }
  [[nodiscard]] proc::PageRun vdso() const;
  /// The same place in the copy.
  [[nodiscard]] Addr in_copy(Addr address) const { return copy.start + (address - old().start); }
  [[nodiscard]] Addr from_copy(Addr address) const { return old().start + (address - copy.start); }
  [[nodiscard]] proc::PageRun old() const;
};

/// A proxy of the pages of a snapshot, to lie at `start`. Throws Error (unsupported) for pages that
/// no proxy can be made of.
VdsoProxy plan_vdso_proxy(const KernelPages& saved, const std::string& kernel, Addr start);
/// The bytes that planning a proxy would take, without the running kernel's pages behind it.
std::uint64_t proxy_bytes(const KernelPages& saved);

/// The content of its last page.
std::vector<std::byte> proxy_page(const VdsoProxy& proxy);
/// The proxy whose last page is `page`, at `at`; nothing if it is none.
std::optional<VdsoProxy> read_vdso_proxy(std::span<const std::byte> page, Addr at);

/// Where each function of the old vdso jumps to. `own`: the running kernel's, which will be at
/// `own_at`. Throws Error (unsupported) for a function that has no room for a jump.
std::vector<VdsoJump> plan_jumps(const VdsoProxy& proxy, std::span<const std::byte> saved,
                                 std::span<const std::byte> own, Addr own_at);
/// The instructions of a jump.
std::array<std::byte, kVdsoJumpBytes> jump_code(Addr target);

/// Whether a thread at `pc` would find itself within a jump.
bool is_within_jump(const VdsoProxy& proxy, std::span<const std::byte> saved, Addr pc);

/// The address space of a snapshot, with the kernel's pages as memory of the program's own.
AddressSpace with_own_kernel_pages(const AddressSpace& space);
/// The address space of a program that has such memory, with it as the kernel's pages again.
void return_kernel_pages(AddressSpace& space, const VdsoProxy& proxy);

}  // namespace ckpt::state
