// Constants of 64-bit ARM: instructions, the kernel's, ELF's. See arch/arch.hpp.
//
// Nothing of this directory has ever run. It is compiled, with all that stands on it, to keep
// native/arch/ the only place that knows the architecture (./test.sh seam); what is not written yet
// throws Error (unsupported).
#pragma once

#include <elf.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/types.hpp"

namespace ckpt::arch {

/// The line of /proc/cpuinfo that has the processor's features.
inline constexpr const char* kProcessorFeatures = "Features";

inline constexpr std::uint16_t kElfMachine = EM_AARCH64;
/// What PTRACE_GETREGSET and core files call the extended state: without SVE.
inline constexpr unsigned kExtendedStateNote = NT_FPREGSET;
inline constexpr const char* kExtendedStateNoteName = "NT_FPREGSET";

/// The end of addresses of 48 bits.
inline constexpr Addr kTaskEnd{0x1000000000000};

// -- instructions, in the order of their bytes in memory --

inline constexpr std::size_t kSyscallBytes = 4;
using SyscallInstruction = std::array<std::byte, kSyscallBytes>;
/// svc #0
inline constexpr SyscallInstruction kSyscallInstruction = {std::byte{0x01}, std::byte{0x00},
                                                           std::byte{0x00}, std::byte{0xd4}};
/// brk #0
inline constexpr std::array<std::byte, 4> kBreakpointInstruction = {
    std::byte{0x00}, std::byte{0x00}, std::byte{0x20}, std::byte{0xd4}};
/// Jumps to any address (code.hpp): a load, a branch, and the address.
inline constexpr std::size_t kFarJumpBytes = 16;
/// And within 128 megabytes (instructions.hpp).
inline constexpr std::size_t kPatchBytes = 4;
/// A call of a function by its address.
inline constexpr std::size_t kDirectCallBytes = 4;

/// How far below its stack pointer a function may keep what it needs: nothing (AAPCS64).
inline constexpr std::uint64_t kRedZoneBytes = 0;

// -- DWARF (DWARF for the Arm 64-bit Architecture) --

inline constexpr std::size_t kDwarfValues = 32;  // x0 to x30, sp
inline constexpr std::size_t kDwarfStackPointer = 31;
inline constexpr std::size_t kDwarfReturnAddress = 30;
inline constexpr std::size_t kDwarfColumns = 32;
inline constexpr std::array<std::size_t, 6> kDwarfOfArguments = {0, 1, 2, 3, 4, 5};
inline constexpr std::size_t kDwarfOfResult = 0;

// -- system calls that other architectures have --

inline constexpr int kSysEpollWait = kNoSyscall;
inline constexpr int kSysFork = kNoSyscall;
inline constexpr int kSysGetpgrp = kNoSyscall;
inline constexpr int kSysModifyLdt = kNoSyscall;
inline constexpr int kSysPause = kNoSyscall;
inline constexpr int kSysPoll = kNoSyscall;
inline constexpr int kSysTime = kNoSyscall;
inline constexpr int kSysVfork = kNoSyscall;

// -- features of the processor that a program must ask for: none --

inline constexpr int kSysFeatures = kNoSyscall;
inline constexpr std::uint64_t kGetFeaturePermissions = 0;
inline constexpr std::uint64_t kRequestFeaturePermission = 0;
inline constexpr std::uint64_t kGetUntagMask = 0;
inline constexpr std::uint64_t kTileDataFeature = 63;

/// Where a thread keeps the addresses of its modules' thread-local memory: the offset of the
/// pointer to them from the thread pointer, and how far they are apart (psABI, and all versions of
/// glibc).
inline constexpr std::uint64_t kModuleVectorAt = 0;
inline constexpr std::uint64_t kModuleEntryBytes = 16;

}  // namespace ckpt::arch
