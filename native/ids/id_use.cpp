#include "ids/id_use.hpp"

#include <sys/syscall.h>

#include <algorithm>

namespace ckpt::ids {

namespace {

// The arguments of a call, and which of them are ids.
struct Call {
  std::uint64_t number;
  std::size_t arguments;
  unsigned ids;  // bit 0: the first
};
constexpr auto kCalls = std::to_array<Call>({
    {SYS_futex, 6, 0},
    {SYS_rt_sigprocmask, 4, 0},
    {SYS_kill, 2, 1},
    {SYS_tkill, 2, 1},
    {SYS_tgkill, 3, 3},
    {SYS_rt_sigqueueinfo, 3, 1},
    {SYS_rt_tgsigqueueinfo, 4, 3},
    {SYS_sched_setparam, 2, 1},
    {SYS_sched_getparam, 2, 1},
    {SYS_sched_setscheduler, 3, 1},
    {SYS_sched_getscheduler, 1, 1},
    {SYS_sched_setaffinity, 3, 1},
    {SYS_sched_getaffinity, 3, 1},
    {SYS_clock_gettime, 2, 1},
    {SYS_clock_settime, 2, 1},
    {SYS_clock_getres, 2, 1},
    {SYS_clock_nanosleep, 4, 1},
});

bool is_before_call(const tracee::Registers& registers, const tracee::Memory& memory) {
  arch::SyscallInstruction next{};
  return memory.read_some(registers.pc(), next) == next.size() && next == arch::kSyscallInstruction;
}

bool gives_id(std::uint64_t number) { return number == SYS_getpid || number == SYS_gettid; }

}  // namespace

bool looks_at_id(std::span<const std::byte> code, std::uint32_t field) {
  const auto displacement = std::as_bytes(std::span(&field, 1));
  return std::search(code.begin(), code.end(), displacement.begin(), displacement.end()) !=
         code.end();
}

RegisterSet plain_arguments(const tracee::Registers& registers, const tracee::Memory& memory) {
  RegisterSet plain{};
  const bool before = is_before_call(registers, memory);
  if (!before && !registers.in_syscall()) return plain;
  const std::uint64_t number = before ? registers.next_syscall() : registers.syscall_number();
  plain[arch::kDwarfOfResult] = before || !gives_id(number);
  const auto* const call = std::find_if(kCalls.begin(), kCalls.end(),
                                        [&](const Call& one) { return one.number == number; });
  if (call == kCalls.end()) return plain;
  for (std::size_t i = 0; i < call->arguments; ++i)
    plain.at(arch::kDwarfOfArguments.at(i)) = ((call->ids >> i) & 1U) == 0;
  return plain;
}

}  // namespace ckpt::ids
