#include "ids/boundary.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "arch/instructions.hpp"
#include "base/error.hpp"
#include "ids/flights.hpp"
#include "ids/result_sites.hpp"

extern "C" {
// NOLINTBEGIN: the linker's names of the section's ends; the functions are only ever copied
extern const std::byte __start_ckpt_ids[] __attribute__((visibility("hidden")));
extern const std::byte __stop_ckpt_ids[] __attribute__((visibility("hidden")));
#define CKPT_ENTRY(name) \
  extern const std::byte ckpt_ids_##name[] __attribute__((visibility("hidden")))
CKPT_ENTRY(getpid);
CKPT_ENTRY(gettid);
CKPT_ENTRY(getppid);
CKPT_ENTRY(getpgrp);
CKPT_ENTRY(getpgid);
CKPT_ENTRY(getsid);
CKPT_ENTRY(setpgid);
CKPT_ENTRY(setsid);
CKPT_ENTRY(kill);
CKPT_ENTRY(killpg);
CKPT_ENTRY(tgkill);
CKPT_ENTRY(sigqueue);
CKPT_ENTRY(pidfd_open);
CKPT_ENTRY(sched_setparam);
CKPT_ENTRY(sched_getparam);
CKPT_ENTRY(sched_setscheduler);
CKPT_ENTRY(sched_getscheduler);
CKPT_ENTRY(sched_rr_get_interval);
CKPT_ENTRY(sched_setaffinity);
CKPT_ENTRY(sched_getaffinity);
CKPT_ENTRY(getpriority);
CKPT_ENTRY(setpriority);
CKPT_ENTRY(prlimit);
CKPT_ENTRY(process_vm_readv);
CKPT_ENTRY(process_vm_writev);
CKPT_ENTRY(capget);
CKPT_ENTRY(capset);
CKPT_ENTRY(semctl);
CKPT_ENTRY(shmctl);
CKPT_ENTRY(msgctl);
CKPT_ENTRY(prctl);
CKPT_ENTRY(getsockopt);
CKPT_ENTRY(tcgetpgrp);
CKPT_ENTRY(tcsetpgrp);
CKPT_ENTRY(tcgetsid);
CKPT_ENTRY(clock_getcpuclockid);
CKPT_ENTRY(syscall);
CKPT_ENTRY(ioctl);
CKPT_ENTRY(fcntl);
CKPT_ENTRY(wait4);
CKPT_ENTRY(waitid);
CKPT_ENTRY(clock_gettime);
CKPT_ENTRY(clock_getres);
CKPT_ENTRY(clock_settime);
CKPT_ENTRY(clock_nanosleep);
CKPT_ENTRY(timer_create);
CKPT_ENTRY(pthread_getcpuclockid);
CKPT_ENTRY(sendmsg);
CKPT_ENTRY(sendmmsg);
CKPT_ENTRY(flight);
#undef CKPT_ENTRY
// NOLINTEND
}

namespace ckpt::ids {

namespace {

struct Function {
  std::string_view name;
  const std::byte* code;
  int original = -1;  // Original, for those that are gone on with
};

constexpr int kNone = -1;

std::span<const Function> boundary_functions() {
  static const auto functions = std::to_array<Function>({
      {"getpid", ckpt_ids_getpid, kNone},
      {"gettid", ckpt_ids_gettid, kNone},
      {"getppid", ckpt_ids_getppid, kNone},
      {"getpgrp", ckpt_ids_getpgrp, kNone},
      {"getpgid", ckpt_ids_getpgid, kNone},
      {"__getpgid", ckpt_ids_getpgid, kNone},
      {"getsid", ckpt_ids_getsid, kNone},
      {"setpgid", ckpt_ids_setpgid, kNone},
      {"__setpgid", ckpt_ids_setpgid, kNone},
      {"setsid", ckpt_ids_setsid, kNone},
      {"kill", ckpt_ids_kill, kNone},
      {"killpg", ckpt_ids_killpg, kNone},
      {"tgkill", ckpt_ids_tgkill, kNone},
      {"sigqueue", ckpt_ids_sigqueue, kNone},
      {"pidfd_open", ckpt_ids_pidfd_open, kNone},
      {"sched_setparam", ckpt_ids_sched_setparam, kNone},
      {"sched_getparam", ckpt_ids_sched_getparam, kNone},
      {"__sched_getparam", ckpt_ids_sched_getparam, kNone},
      {"sched_setscheduler", ckpt_ids_sched_setscheduler, kNone},
      {"__sched_setscheduler", ckpt_ids_sched_setscheduler, kNone},
      {"sched_getscheduler", ckpt_ids_sched_getscheduler, kNone},
      {"__sched_getscheduler", ckpt_ids_sched_getscheduler, kNone},
      {"sched_rr_get_interval", ckpt_ids_sched_rr_get_interval, kNone},
      {"sched_setaffinity", ckpt_ids_sched_setaffinity, kNone},
      {"sched_getaffinity", ckpt_ids_sched_getaffinity, kNone},
      {"getpriority", ckpt_ids_getpriority, kNone},
      {"setpriority", ckpt_ids_setpriority, kNone},
      {"prlimit", ckpt_ids_prlimit, kNone},
      {"prlimit64", ckpt_ids_prlimit, kNone},
      {"process_vm_readv", ckpt_ids_process_vm_readv, kNone},
      {"process_vm_writev", ckpt_ids_process_vm_writev, kNone},
      {"capget", ckpt_ids_capget, kNone},
      {"capset", ckpt_ids_capset, kNone},
      {"semctl", ckpt_ids_semctl, kNone},
      {"shmctl", ckpt_ids_shmctl, kNone},
      {"msgctl", ckpt_ids_msgctl, kNone},
      {"prctl", ckpt_ids_prctl, kNone},
      {"__prctl", ckpt_ids_prctl, kNone},
      {"getsockopt", ckpt_ids_getsockopt, kNone},
      {"__getsockopt", ckpt_ids_getsockopt, kNone},
      {"tcgetpgrp", ckpt_ids_tcgetpgrp, kNone},
      {"tcsetpgrp", ckpt_ids_tcsetpgrp, kNone},
      {"tcgetsid", ckpt_ids_tcgetsid, kNone},
      {"clock_getcpuclockid", ckpt_ids_clock_getcpuclockid, kNone},
      {"syscall", ckpt_ids_syscall, arch::kSyscall},
      {"ioctl", ckpt_ids_ioctl, arch::kIoctl},
      {"__ioctl", ckpt_ids_ioctl, arch::kIoctl},
      {"fcntl", ckpt_ids_fcntl, arch::kFcntl},
      {"fcntl64", ckpt_ids_fcntl, arch::kFcntl},
      {"__fcntl", ckpt_ids_fcntl, arch::kFcntl},
      {"wait4", ckpt_ids_wait4, arch::kWait4},
      {"__wait4", ckpt_ids_wait4, arch::kWait4},
      {"waitid", ckpt_ids_waitid, arch::kWaitid},
      {"clock_gettime", ckpt_ids_clock_gettime, arch::kClockGettime},
      {"clock_getres", ckpt_ids_clock_getres, arch::kClockGetres},
      {"clock_settime", ckpt_ids_clock_settime, kNone},
      {"clock_nanosleep", ckpt_ids_clock_nanosleep, arch::kClockNanosleep},
      {"timer_create", ckpt_ids_timer_create, arch::kTimerCreate},
      {"pthread_getcpuclockid", ckpt_ids_pthread_getcpuclockid, arch::kThreadClock},
      {"sendmsg", ckpt_ids_sendmsg, arch::kSendmsg},
      {"__sendmsg", ckpt_ids_sendmsg, arch::kSendmsg},
      {"sendmmsg", ckpt_ids_sendmmsg, arch::kSendmmsg},
      {"__sendmmsg", ckpt_ids_sendmmsg, arch::kSendmmsg},
  });
  return functions;
}

const Function* function_named(std::string_view name) {
  for (const auto& function : boundary_functions())
    if (function.name == name) return &function;
  return nullptr;
}

std::span<const std::byte> injected_code() {
  return {__start_ckpt_ids, static_cast<std::size_t>(__stop_ckpt_ids - __start_ckpt_ids)};
}

// Room for the moved instructions of one function and the jump behind them.
constexpr std::size_t kTrampolineBytes = 64;

std::uint64_t& original_of(arch::BoundaryHeader& header, int which) {
  return which < arch::kFirstOriginals ? header.originals[which]
                                       : header.more_originals[which - arch::kFirstOriginals];
}

struct Layout {
  std::uint64_t trampolines;
  std::uint64_t stubs;
  std::uint64_t results;
  std::uint64_t tables;
  std::uint64_t flights;
  std::uint64_t total;
};

Layout lay_out(const libc::Library& library, const BoundaryIds& ids, const FlightPlan& flights) {
  Layout layout{};
  layout.trampolines = arch::kBoundaryCodeAt + page_up(injected_code().size());
  layout.stubs = layout.trampolines + page_up(arch::kOriginals * kTrampolineBytes);
  layout.results = layout.stubs + page_up(flights.stubs.size() * kStubBytes);
  layout.tables = layout.results + page_up(arch::kResultStubsBytes);
  const std::size_t patches =
      library.functions.size() + flights.stubs.size() + arch::kMostResultStubs;
  layout.flights = layout.tables + page_up(ids.pairs.size() * sizeof(arch::IdPair) +
                                           library.internal.size() * sizeof(arch::CodeRange) +
                                           patches * sizeof(arch::BoundaryPatch));
  layout.total = layout.flights + page_up(flights.flights.size() * sizeof(arch::Flight) +
                                          flights.places * sizeof(arch::MovedCode));
  return layout;
}

// The system calls that take or give ids; those that the translation cannot tell from their number
// alone are looked at by the code.
constexpr auto kCallsWithIds = std::to_array<int>({
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    arch::kSysGetpgrp,
    SYS_getpgid,
    SYS_getsid,
    SYS_setpgid,
    SYS_setsid,
    SYS_kill,
    SYS_tkill,
    SYS_tgkill,
    SYS_pidfd_open,
    SYS_sched_setparam,
    SYS_sched_getparam,
    SYS_sched_setscheduler,
    SYS_sched_getscheduler,
    SYS_sched_rr_get_interval,
    SYS_sched_setaffinity,
    SYS_sched_getaffinity,
    SYS_sched_setattr,
    SYS_sched_getattr,
    SYS_prlimit64,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_get_robust_list,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_move_pages,
    SYS_migrate_pages,
    SYS_kcmp,
    SYS_ptrace,
    SYS_perf_event_open,
    SYS_capget,
    SYS_capset,
    SYS_semctl,
    SYS_shmctl,
    SYS_msgctl,
    SYS_prctl,
    SYS_getpriority,
    SYS_setpriority,
    SYS_ioprio_get,
    SYS_ioprio_set,
    SYS_fcntl,
    SYS_ioctl,
    SYS_getsockopt,
    SYS_wait4,
    SYS_waitid,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_settime,
    SYS_clock_nanosleep,
    SYS_timer_create,
    arch::kSysFork,
    SYS_clone,
    SYS_clone3,
    SYS_sendmsg,
    SYS_sendmmsg,
    SYS_recvmsg,
    SYS_recvmmsg,
});

template <typename T>
void put(std::vector<std::byte>& image, std::uint64_t at, const T& value) {
  std::memcpy(image.data() + at, &value, sizeof value);
}

}  // namespace

libc::Library find_library(std::span<const libc::MappedObject> objects) {
  return libc::find_library(
      objects,
      {.is_boundary = [](std::string_view name) { return function_named(name) != nullptr; },
       .is_resulting = is_result_function});
}

namespace {

Addr place_of(const std::byte* code, Addr place) {
  return place + arch::kBoundaryCodeAt + static_cast<std::uint64_t>(code - __start_ckpt_ids);
}

using Change = std::pair<Addr, std::array<std::byte, arch::kPatchBytes>>;

arch::BoundaryPatch patch_of(Addr address, std::span<const std::byte> original) {
  arch::BoundaryPatch patch{};
  patch.address = address.value;
  std::memcpy(patch.original, original.data(), arch::kPatchBytes);
  return patch;
}

// Writes the stubs and the tables of flights into `image`; returns what they change.
std::vector<std::pair<arch::BoundaryPatch, Change>> put_flights(const FlightPlan& plan,
                                                                const ResultStubs& results,
                                                                Addr place, const Layout& layout,
                                                                arch::BoundaryHeader& header,
                                                                std::vector<std::byte>& image) {
  std::vector<std::pair<arch::BoundaryPatch, Change>> changes;
  std::vector<arch::MovedCode> moved;
  std::vector<bool> leads_on;  // to the translation of the result
  header.flights_at = place.value + layout.flights;
  for (std::size_t i = 0; i < plan.stubs.size(); ++i) {
    const PlannedStub& planned = plan.stubs[i];
    const std::uint64_t at = layout.stubs + i * kStubBytes;
    const auto result = results.behind(planned.from + arch::kSyscallBytes);
    leads_on.push_back(planned.is_call && result);
    const auto stub = make_stub(planned, place + at, place_of(ckpt_ids_flight, place),
                                planned.is_call ? result : std::nullopt);
    if (!stub) fail(ErrorKind::refused, "no code near {} can be moved to {}", planned.from, place);
    std::copy(stub->bytes.begin(), stub->bytes.end(),
              image.begin() + static_cast<std::ptrdiff_t>(at));
    moved.insert(moved.end(), stub->moved.begin(), stub->moved.end());
    if (planned.is_call)
      changes.emplace_back(patch_of(planned.from, planned.code),
                           Change{planned.from, arch::jump_to(planned.from, place + at)});
  }
  std::uint64_t at = layout.flights;
  for (const auto& flight : plan.flights) {
    const Addr stub = place + layout.stubs + flight.stub * kStubBytes;
    put(image, at,
        arch::Flight{(stub + arch::kStubCallAt).value, flight.stack, flight.thread,
                     leads_on[flight.stub] ? arch::kLeadsOn : arch::kPending});
    at += sizeof(arch::Flight);
    ++header.flights;
  }
  for (const auto& one : moved) {
    put(image, at, one);
    at += sizeof one;
    ++header.moved;
  }
  return changes;
}

}  // namespace

std::optional<Addr> find_boundary_place(const libc::Library& library,
                                        std::span<const proc::PageRun> taken, std::uint64_t bytes) {
  if (library.functions.empty()) return std::nullopt;
  const auto ends =
      std::minmax_element(library.functions.begin(), library.functions.end(),
                          [](const auto& a, const auto& b) { return a.address < b.address; });
  const std::uint64_t low = ends.first->address.value;
  const std::uint64_t high = ends.second->address.value;
  constexpr std::uint64_t kReach = (2ULL << 30U) - (16ULL << 20U);
  constexpr std::uint64_t kLowest = 0x10000;  // vm.mmap_min_addr
  constexpr std::uint64_t kMargin = 1ULL << 20U;
  const std::uint64_t from = std::max(high > kReach ? high - kReach : 0, kLowest);
  const std::uint64_t until = low + kReach;
  const auto distance = [&](std::uint64_t at) { return at > low ? at - low : low - at; };
  std::optional<Addr> best;
  const auto consider = [&](std::uint64_t begin, std::uint64_t end, std::uint64_t margin) {
    begin = std::max(begin, from) + margin;
    end = std::min(end, until);
    const std::uint64_t first =
        (begin + arch::kBoundaryAlignment - 1) & ~(arch::kBoundaryAlignment - 1);
    if (end < bytes + margin || first > end - bytes - margin) return;
    const std::uint64_t last = (end - bytes - margin) & ~(arch::kBoundaryAlignment - 1);
    const std::uint64_t nearest = distance(first) < distance(last) ? first : last;
    if (!best || distance(nearest) < distance(best->value)) best = Addr{nearest};
  };
  // Away from where others grow; at the least a page, lest the kernel make one mapping of two.
  for (const std::uint64_t margin : {kMargin, kPageSize}) {
    std::uint64_t free_from = 0;
    for (const auto& run : taken) {
      if (run.start.value > free_from) consider(free_from, run.start.value, margin);
      free_from = std::max(free_from, run.end.value);
    }
    consider(free_from, arch::kTaskEnd.value, margin);
    if (best) break;
  }
  return best;
}

std::uint64_t boundary_bytes(const libc::Library& library, const BoundaryIds& ids,
                             const FlightPlan& flights) {
  return lay_out(library, ids, flights).total;
}

std::vector<std::string> install_boundary(tracee::Inferior& inferior, const libc::Library& library,
                                          const BoundaryIds& ids, const FlightPlan& flights,
                                          Addr place, std::span<const Addr> stopped) {
  const tracee::Memory& memory = inferior.memory;
  const Layout layout = lay_out(library, ids, flights);
  std::vector<std::byte> image(layout.total);
  arch::BoundaryHeader header{};
  header.magic = arch::kBoundaryMagic;
  header.self = place.value;
  header.errno_location = library.errno_location.value;
  header.errno_offset = library.errno_offset;
  header.group = ids.group;
  header.session = ids.session;
  header.children = header.children_left =
      static_cast<std::uint32_t>(std::min(ids.children.size(), arch::kMostBoundaryChildren));
  std::copy_n(ids.children.begin(), header.children, std::begin(header.child));
  header.pairs = static_cast<std::uint32_t>(ids.pairs.size());
  header.ranges = static_cast<std::uint32_t>(library.internal.size());
  header.bytes = static_cast<std::uint32_t>(layout.total);
  for (const int call : kCallsWithIds)
    if (call != arch::kNoSyscall)
      header.calls[call / 8] |= static_cast<std::uint8_t>(1U << (static_cast<unsigned>(call) % 8U));
  header.pairs_at = place.value + layout.tables;
  header.ranges_at = header.pairs_at + ids.pairs.size() * sizeof(arch::IdPair);
  header.patches_at = header.ranges_at + library.internal.size() * sizeof(arch::CodeRange);
  const auto code = injected_code();
  std::memcpy(image.data() + arch::kBoundaryCodeAt, code.data(), code.size());
  std::uint64_t at = layout.tables;
  for (const auto& pair : ids.pairs) {
    put(image, at, pair);
    at += sizeof pair;
  }
  for (const auto& range : library.internal) {
    put(image, at, arch::CodeRange{range.start.value, range.end.value});
    at += sizeof(arch::CodeRange);
  }

  std::vector<std::string> left;
  std::vector<Change> changes;
  for (const auto& target : library.functions) {
    const bool seen = std::any_of(changes.begin(), changes.end(), [&](const auto& change) {
      return change.first == target.address;
    });
    if (seen) continue;  // another name of the same function
    const Function& function = *function_named(target.name);
    std::array<std::byte, arch::kMostMovedBytes> begin{};
    memory.read(target.address, begin);
    std::size_t changed_bytes = arch::kPatchBytes;
    bool possible = target.size_bytes >= arch::kPatchBytes;
    if (possible && function.original != kNone) {
      const std::uint64_t trampoline =
          layout.trampolines + static_cast<std::uint64_t>(function.original) * kTrampolineBytes;
      const auto moved =
          arch::move_instructions(begin, target.address, place + trampoline, changed_bytes);
      std::uint64_t& original = original_of(header, function.original);
      possible = moved && moved->size() <= kTrampolineBytes && original == 0;
      if (possible) {
        std::copy(moved->begin(), moved->end(),
                  image.begin() + static_cast<std::ptrdiff_t>(trampoline));
        original = place.value + trampoline;
      }
    }
    // No thread may wake up in the middle of what was replaced.
    possible = possible && std::none_of(stopped.begin(), stopped.end(), [&](Addr pc) {
                 return pc > target.address && pc < target.address + changed_bytes &&
                        !flights.covers(pc, target.address);
               });
    if (!possible) {
      left.push_back(target.name);
      continue;
    }
    put(image, at, patch_of(target.address, begin));
    at += sizeof(arch::BoundaryPatch);
    ++header.patches;
    changes.emplace_back(target.address,
                         arch::jump_to(target.address, place_of(function.code, place)));
  }
  const auto results = make_result_stubs(memory, library, place + arch::kBoundaryCodeAt,
                                         place + layout.results, stopped);
  std::copy(results.code.begin(), results.code.end(),
            image.begin() + static_cast<std::ptrdiff_t>(layout.results));
  const auto take = [&](const arch::BoundaryPatch& patch, const Change& change) {
    put(image, at, patch);
    at += sizeof patch;
    ++header.patches;
    changes.push_back(change);
  };
  for (const auto& [patch, change] : put_flights(flights, results, place, layout, header, image))
    take(patch, change);
  for (const auto& [patch, stub] : results.patches) {
    const Addr site{patch.address};
    // Within what a stub for a call under way replaces: that one leads there itself.
    if (!flights.replaces(site)) take(patch, Change{site, arch::jump_to(site, stub)});
  }
  header.translates_results = results.patches.empty() ? 0 : 1;
  put(image, 0, header);

  inferior.call("mmap (ids)", SYS_mmap,
                {place, layout.total, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0});
  memory.write(place, image);
  inferior.call("mprotect (ids)", SYS_mprotect,
                {place + arch::kBoundaryCodeAt, layout.tables - arch::kBoundaryCodeAt,
                 PROT_READ | PROT_EXEC});
  inferior.call("mprotect (ids)", SYS_mprotect,
                {place + layout.tables, layout.flights - layout.tables, PROT_READ});
  for (const auto& [address, bytes] : changes) memory.write(address, bytes);
  return left;
}

Tid FoundBoundary::remembered(Tid real) const {
  for (const auto& pair : ids.pairs)
    if (pair.real == real) return pair.remembered;
  for (const auto& pair : ids.pairs)
    if (pair.remembered == real) return real + arch::kAliasBase;
  return remembered_child(real);
}

Tid FoundBoundary::remembered_child(Tid real) const {
  const auto found = std::find_if(ids.children.begin(), ids.children.end(),
                                  [&](const arch::IdPair& one) { return one.real == real; });
  return found == ids.children.end() ? real : found->remembered;
}

Tid collect_child(const FoundBoundary& boundary, const tracee::Memory& memory, Tid real) {
  const Addr header_at = boundary.mapping.start;
  auto header = memory.read_value<arch::BoundaryHeader>(header_at);
  for (arch::IdPair& child : std::span(header.child).first(header.children)) {
    if (child.real != real) continue;
    child.real = -real;
    --header.children_left;
    memory.write_value(header_at, header);
    return child.remembered;
  }
  return real;
}

namespace {

template <typename T>
std::vector<T> read_table(const tracee::Memory& memory, std::uint64_t at, std::uint32_t count) {
  std::vector<T> table(count);
  memory.read(Addr{at}, std::as_writable_bytes(std::span(table)));
  return table;
}

}  // namespace

// What the process itself may have written there is not trusted further than it makes sense.
std::optional<FoundBoundary> boundary_in(Addr place, const tracee::Memory& memory) {
  arch::BoundaryHeader header{};
  if (memory.read_some(place, std::as_writable_bytes(std::span(&header, 1))) != sizeof header)
    return std::nullopt;
  if (header.magic != arch::kBoundaryMagic || header.self != place.value) return std::nullopt;
  constexpr std::uint32_t kMost = 1U << 20U;
  if (header.pairs > kMost || header.ranges > kMost || header.patches > kMost ||
      header.flights > kMost || header.moved > kMost ||
      header.children > arch::kMostBoundaryChildren || header.bytes % kPageSize != 0 ||
      header.bytes > (1U << 28U))
    return std::nullopt;
  FoundBoundary found;
  found.mapping = {place, place + header.bytes};
  found.code = {place + arch::kBoundaryCodeAt, Addr{page_down(header.pairs_at)}};
  found.ids.pairs = read_table<arch::IdPair>(memory, header.pairs_at, header.pairs);
  found.ids.group = header.group;
  found.ids.session = header.session;
  found.ids.children.assign(std::begin(header.child), std::begin(header.child) + header.children);
  found.patches = read_table<arch::BoundaryPatch>(memory, header.patches_at, header.patches);
  found.moved = read_table<arch::MovedCode>(
      memory, header.flights_at + header.flights * sizeof(arch::Flight), header.moved);
  return found;
}

std::optional<FoundBoundary> find_boundary(const std::vector<proc::Mapping>& mappings,
                                           const tracee::Memory& memory) {
  for (const auto& map : mappings) {
    if (!map.exec || map.write || map.shared || map.has_object()) continue;
    for (Addr at = map.start; at < map.end; at = at + kPageSize)
      if ((at.value & (arch::kBoundaryAlignment - 1)) == arch::kBoundaryCodeAt)
        if (auto found = boundary_in(at - arch::kBoundaryCodeAt, memory)) return found;
  }
  return std::nullopt;
}

}  // namespace ckpt::ids
