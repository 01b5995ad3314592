#include "ids/own_calls.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cstdint>
#include <optional>

#include "arch/instructions.hpp"
#include "base/error.hpp"
#include "libc/elf_symbols.hpp"

namespace ckpt::ids {

namespace {

struct NamedCall {
  int number;
  std::string_view name;
};

// Those whose ids are most often not their caller's, or that give one. Not: what nearly always is
// called for other reasons (fcntl, ioctl, clock_gettime, prlimit), or with 0 (sched_getaffinity).
constexpr auto kNamedCalls = std::to_array<NamedCall>({
    {SYS_getpid, "getpid"},
    {SYS_gettid, "gettid"},
    {SYS_getppid, "getppid"},
    {arch::kSysGetpgrp, "getpgrp"},
    {SYS_getpgid, "getpgid"},
    {SYS_getsid, "getsid"},
    {SYS_setpgid, "setpgid"},
    {SYS_kill, "kill"},
    {SYS_tkill, "tkill"},
    {SYS_tgkill, "tgkill"},
    {SYS_pidfd_open, "pidfd_open"},
    {SYS_rt_sigqueueinfo, "rt_sigqueueinfo"},
    {SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo"},
    {SYS_wait4, "wait4"},
    {SYS_waitid, "waitid"},
    {SYS_sched_setaffinity, "sched_setaffinity"},
    {SYS_sched_setscheduler, "sched_setscheduler"},
    {SYS_sched_setattr, "sched_setattr"},
});
using CallSet = std::bitset<kNamedCalls.size()>;

constexpr std::size_t kMostBetween = 40;  // bytes, from the number to the instruction
constexpr std::size_t kScanBytes = 1U << 20U;

// The index in our list of a number that an instruction at the begin of `code` loads, and the
// instruction's length.
struct Load {
  std::size_t call = 0;
  std::size_t length = 0;
};
std::optional<Load> load_of_number(std::span<const std::byte> code) {
  const auto load = arch::number_load(code, true);
  if (!load) return std::nullopt;
  for (std::size_t i = 0; i < kNamedCalls.size(); ++i)
    if (kNamedCalls[i].number == load->number) return Load{i, load->length};
  return std::nullopt;
}

// What an instruction does to a register that holds the number is not looked at: from where it is
// loaded to the call, a compiler uses others.
bool leads_to_end(std::span<const std::byte> code) {
  while (!code.empty()) {
    const auto one = arch::movable_instruction(code);
    if (!one || one->is_short_jump) return false;
    code = code.subspan(one->length);
  }
  return true;
}

// `before`: what lies in front of a system call.
void look_back(std::span<const std::byte> before, CallSet& found) {
  const std::size_t least = before.size() > kMostBetween ? before.size() - kMostBetween : 0;
  for (std::size_t at = before.size(); at-- > least;) {
    const auto load = load_of_number(before.subspan(at));
    if (!load || !leads_to_end(before.subspan(at + load->length))) continue;
    found.set(load->call);
    return;
  }
}

void look_through(std::span<const std::byte> code, CallSet& found) {
  for (const std::size_t at : arch::find_syscall_bytes(code)) look_back(code.first(at), found);
}

std::vector<std::string_view> names_of(const CallSet& calls) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < kNamedCalls.size(); ++i)
    if (calls.test(i)) names.push_back(kNamedCalls[i].name);
  return names;
}

bool is_looked_at(const libc::MappedObject& object, bool is_static) {
  if (object.is_program) return !is_static;
  const std::string_view name = std::string_view(object.name).substr(object.name.rfind('/') + 1);
  return !libc::is_library_name(name) && !name.starts_with("ld-") && name != "libckpt.so";
}

CallSet calls_of(const tracee::Memory& memory, const libc::MappedObject& object,
                 std::vector<std::byte>& chunk) {
  CallSet found;
  constexpr std::size_t kOverlap = kMostBetween + 16;
  for (const auto& run : object.code) {
    for (Addr at = run.start; at < run.end; at = at + kScanBytes) {
      const Addr from = at - run.start < kOverlap ? at : at - kOverlap;
      chunk.resize(std::min<std::uint64_t>(run.end - from, kScanBytes + kOverlap));
      try {
        memory.read_bulk(from, chunk);
      } catch (const Error&) {
        chunk.resize(memory.read_some(from, chunk));  // up to where the file ends
      }
      look_through(chunk, found);
    }
  }
  return found;
}

bool has_go_runtime(const libc::MappedObject& object) {
  try {
    return libc::read_section(object.path, ".note.go.buildid").has_value();
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

std::vector<std::string_view> find_own_calls(std::span<const std::byte> code) {
  CallSet found;
  look_through(code, found);
  return names_of(found);
}

std::vector<OwnCalls> find_own_calls(const tracee::Memory& memory,
                                     std::span<const libc::MappedObject> objects, bool is_static) {
  std::vector<OwnCalls> all;
  std::vector<std::byte> chunk;
  for (const auto& object : objects) {
    if (!is_looked_at(object, is_static)) continue;
    const CallSet calls = calls_of(memory, object, chunk);
    if (calls.any()) all.push_back({object.name, names_of(calls), has_go_runtime(object)});
  }
  return all;
}

}  // namespace ckpt::ids
