// Constants of x86-64: instructions, the kernel's, ELF's. See arch/arch.hpp.
#pragma once

#include <elf.h>
#include <sys/syscall.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "arch/x86_64/lengths.hpp"
#include "base/types.hpp"

namespace ckpt::arch {

/// The line of /proc/cpuinfo that has the processor's features.
inline constexpr const char* kProcessorFeatures = "flags";

inline constexpr std::uint16_t kElfMachine = EM_X86_64;
/// What PTRACE_GETREGSET and core files call the extended state.
inline constexpr unsigned kExtendedStateNote = NT_X86_XSTATE;
inline constexpr const char* kExtendedStateNoteName = "NT_X86_XSTATE";

/// The kernel's TASK_SIZE for 64-bit programs without five-level page tables, which a program must
/// ask for: where it looks for free addresses ends here.
inline constexpr Addr kTaskEnd{0x7ffffffff000};

// -- instructions --

using SyscallInstruction = std::array<std::byte, kSyscallBytes>;
inline constexpr SyscallInstruction kSyscallInstruction = {std::byte{0x0f}, std::byte{0x05}};
/// What debuggers write over an instruction; it is found at any address.
inline constexpr std::array<std::byte, 1> kBreakpointInstruction = {std::byte{0xcc}};
/// A jump to any address (code.hpp).
inline constexpr std::size_t kFarJumpBytes = 13;
/// A call of a function by its address.
inline constexpr std::size_t kDirectCallBytes = 5;

/// How far below its stack pointer a function may keep what it needs (System V ABI, red zone).
inline constexpr std::uint64_t kRedZoneBytes = 128;

// -- DWARF --

/// The registers that have the first numbers, and the column that stands for the return address.
inline constexpr std::size_t kDwarfValues = 16;
inline constexpr std::size_t kDwarfStackPointer = 7;
inline constexpr std::size_t kDwarfReturnAddress = 16;
inline constexpr std::size_t kDwarfColumns = 17;
/// Where system calls have their arguments and the result.
inline constexpr std::array<std::size_t, 6> kDwarfOfArguments = {5, 4, 1, 10, 8, 9};
inline constexpr std::size_t kDwarfOfResult = 0;

// -- system calls that other architectures lack --

inline constexpr int kSysEpollWait = SYS_epoll_wait;
inline constexpr int kSysFork = SYS_fork;
inline constexpr int kSysGetpgrp = SYS_getpgrp;
inline constexpr int kSysModifyLdt = SYS_modify_ldt;
inline constexpr int kSysPause = SYS_pause;
inline constexpr int kSysPoll = SYS_poll;
inline constexpr int kSysTime = SYS_time;
inline constexpr int kSysVfork = SYS_vfork;

// -- features of the processor that a program must ask for --

/// The call for them: arch_prctl(2), and its requests ARCH_GET_XCOMP_PERM, ARCH_REQ_XCOMP_PERM and
/// ARCH_GET_UNTAG_MASK (Linux 6.4).
inline constexpr int kSysFeatures = SYS_arch_prctl;
inline constexpr std::uint64_t kGetFeaturePermissions = 0x1022;
inline constexpr std::uint64_t kRequestFeaturePermission = 0x1023;
inline constexpr std::uint64_t kGetUntagMask = 0x4001;
/// The number of AMX's tiles among them.
inline constexpr std::uint64_t kTileDataFeature = 18;

/// Where a thread keeps the addresses of its modules' thread-local memory: the offset of the
/// pointer to them from the thread pointer, and how far they are apart (psABI, and all versions of
/// glibc).
inline constexpr std::uint64_t kModuleVectorAt = 8;
inline constexpr std::uint64_t kModuleEntryBytes = 16;

}  // namespace ckpt::arch
