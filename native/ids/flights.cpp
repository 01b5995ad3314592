#include "ids/flights.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>

#include "arch/instructions.hpp"
#include "base/error.hpp"
#include "ids/boundary.hpp"

namespace ckpt::ids {

namespace {

// As much of the code as can be moved: the bytes under a patch, and the rest of the last
// instruction.
constexpr std::size_t kMostCodeBytes = 32;

// Functions whose callers within the library mean the same ids as the program does.
bool is_for_all_callers(std::string_view name) {
  constexpr std::array<std::string_view, 18> kNames = {"setpgid",
                                                       "__setpgid",
                                                       "setsid",
                                                       "tcgetpgrp",
                                                       "tcsetpgrp",
                                                       "tcgetsid",
                                                       "syscall",
                                                       "ioctl",
                                                       "__ioctl",
                                                       "fcntl",
                                                       "fcntl64",
                                                       "__fcntl",
                                                       "wait4",
                                                       "__wait4",
                                                       "waitid",
                                                       "timer_create",
                                                       "pthread_getcpuclockid",
                                                       "clock_settime"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

bool calls_helpers(std::string_view name) { return name.find("fcntl") != name.npos; }

bool waits(std::string_view name) { return name.find("wait") != name.npos; }

struct Body {
  Addr begin;
  std::vector<std::byte> code;
};

class Planner {
 public:
  Planner(const tracee::Memory& memory, const libc::Library& library, Frames& frames,
          std::span<const Stopped> stopped)
      : memory_(memory), library_(library), frames_(frames), stopped_(stopped) {}

  FlightPlan run() {
    for (const auto& one : stopped_) {
      cover_entry(one.registers.pc());
      look(one);
    }
    drop_uncovered();
    return std::move(plan_);
  }

 private:
  const libc::LibraryFunction* function_at(Addr address) const {
    const auto found =
        std::find_if(library_.functions.begin(), library_.functions.end(),
                     [&](const libc::LibraryFunction& one) {
                       return one.address <= address && address < one.address + one.size_bytes;
                     });
    return found == library_.functions.end() ? nullptr : &*found;
  }
  bool is_internal(Addr address) const {
    return std::any_of(
        library_.internal.begin(), library_.internal.end(),
        [&](const proc::PageRun& run) { return run.start <= address && address < run.end; });
  }
  std::vector<std::byte> read(Addr from, std::uint64_t bytes) const {
    constexpr std::uint64_t kMostBytes = 64U << 10U;
    std::vector<std::byte> code(std::min(bytes, kMostBytes));
    code.resize(memory_.read_some(from, code));
    return code;
  }

  // A thread in the first bytes of a function, which are about to be replaced.
  void cover_entry(Addr counter) {
    for (const auto& function : library_.functions) {
      if (counter <= function.address || counter >= function.address + arch::kPatchBytes) continue;
      PlannedStub stub{counter, false, read(counter, kMostCodeBytes),
                       arch::kPatchBytes - (counter - function.address)};
      add(std::move(stub));
    }
  }

  // The stub's number; nothing if it cannot be made.
  std::optional<std::size_t> add(PlannedStub stub) {
    for (std::size_t i = 0; i < plan_.stubs.size(); ++i)
      if (plan_.stubs[i].from == stub.from && plan_.stubs[i].is_call == stub.is_call) return i;
    const auto made = make_stub(stub, stub.from, stub.from);  // as if near
    if (!made) return std::nullopt;
    plan_.places += made->moved.size() + 1;  // and where it leads on to the result
    plan_.stubs.push_back(std::move(stub));
    return plan_.stubs.size() - 1;
  }

  void look(const Stopped& one) {
    auto walked = walk_frames(one.registers, memory_, frames_);
    if (walked.empty()) {  // in a library whose frames are not described
      Frame& frame = walked.emplace_back();
      frame.at = one.registers.pc();
      frame.stack = one.registers.sp();
    }
    for (std::size_t i = 0; i < walked.size(); ++i) {
      const auto* function = function_at(walked[i].lookup(i));
      if (function == nullptr || library_.is_clock(walked[i].lookup(i))) continue;
      if (!is_for_all_callers(function->name) && is_internal(walked[i].back)) continue;
      if (!take_off(one, walked, i, *function)) leave(one, function->name);
    }
  }

  void leave(const Stopped& one, const std::string& name) {
    auto note = fmt::format(
        "new ids: thread {} is in {}(), which could not be changed: this call takes and gives the "
        "new ids",
        one.tid, name);
    if (std::find(plan_.notes.begin(), plan_.notes.end(), note) == plan_.notes.end())
      plan_.notes.push_back(std::move(note));
  }

  bool take_off(const Stopped& one, const std::vector<Frame>& walked, std::size_t depth,
                const libc::LibraryFunction& function) {
    const Frame& frame = walked[depth];
    const Body body{function.address, read(function.address, function.size_bytes)};
    const auto reached = arch::reach(body.code, body.begin, frame.at);
    if (!reached) return false;
    bool good = true;
    for (const Addr call : reached->calls) good = add_flight(one, body, call, frame.stack) && good;
    if (waits(function.name) && reached->calls.empty())
      return !waits_elsewhere(one, body, depth, *reached);
    if (!calls_helpers(function.name)) return good;
    // The system call may be in a function without a name, which is being called, or will be.
    if (depth > 0 && function_at(walked[depth - 1].lookup(depth - 1)) == nullptr)
      good = take_off_helper(one, walked[depth - 1].rules, walked[depth - 1].at,
                             walked[depth - 1].stack) &&
             good;
    for (const Addr callee : reached->callees) {
      const auto rules = function_at(callee) == nullptr ? frames_.find(callee) : std::nullopt;
      if (rules) good = take_off_helper(one, *rules, callee, frame.stack) && good;
    }
    return good;
  }

  // glibc 2.41 has the system calls of all cancellation points in one function, which compares the
  // program counter with its own addresses. A thread that sleeps there gets its answer otherwise.
  static bool waits_elsewhere(const Stopped& one, const Body& body, std::size_t depth,
                              const arch::Reached& reached) {
    const auto all = arch::reach(body.code, body.begin, body.begin);
    if (!all || !all->calls.empty()) return false;
    const bool sleeps = one.registers.in_syscall();
    return depth == 0 ? !reached.callees.empty() : !sleeps;
  }

  bool take_off_helper(const Stopped& one, const FrameRules& rules, Addr from, Addr stack) {
    const Body body{rules.begin, read(rules.begin, rules.size_bytes)};
    const auto reached = arch::reach(body.code, body.begin, from);
    if (!reached) return false;
    bool good = true;
    for (const Addr call : reached->calls) good = add_flight(one, body, call, stack) && good;
    return good;
  }

  bool add_flight(const Stopped& one, const Body& body, Addr call, Addr stack) {
    if (arch::has_target_within(body.code, body.begin, call, call + arch::kPatchBytes))
      return false;
    const bool overlaps =
        std::any_of(plan_.stubs.begin(), plan_.stubs.end(), [&](const PlannedStub& other) {
          return other.is_call && other.from != call && other.from < call + arch::kPatchBytes &&
                 call < other.from + arch::kPatchBytes;
        });
    if (overlaps || call < body.begin) return false;
    const auto stub = add({call, true, read(call, kMostCodeBytes), arch::kPatchBytes});
    if (!stub) return false;
    const bool known =
        std::any_of(plan_.flights.begin(), plan_.flights.end(), [&](const PlannedFlight& other) {
          return other.stub == *stub && other.stack == stack.value && other.thread == one.thread;
        });
    if (!known) plan_.flights.push_back({*stub, stack.value, one.thread});
    return true;
  }

  // Where a thread stands in the middle of an instruction that is replaced, it stays.
  void drop_uncovered() {
    std::set<std::size_t> dropped;
    for (std::size_t i = 0; i < plan_.stubs.size(); ++i)
      for (const auto& one : stopped_) {
        const auto& stub = plan_.stubs[i];
        const Addr counter = one.registers.pc();
        if (!stub.is_call || counter <= stub.from || counter >= stub.from + stub.least) continue;
        if (!plan_.covers(counter, stub.from)) {
          dropped.insert(i);
          leave(one, "a function");
        }
      }
    if (dropped.empty()) return;
    std::erase_if(plan_.flights, [&](const auto& one) { return dropped.contains(one.stub); });
    for (const std::size_t i : dropped) plan_.stubs[i].is_call = false;
  }

  const tracee::Memory& memory_;
  const libc::Library& library_;
  Frames& frames_;
  std::span<const Stopped> stopped_;
  FlightPlan plan_;
};

}  // namespace

bool FlightPlan::covers(Addr counter, Addr from) const {
  return std::any_of(stubs.begin(), stubs.end(), [&](const PlannedStub& stub) {
    const bool right = stub.is_call ? stub.from == from : stub.from == counter;
    const auto made = right ? make_stub(stub, stub.from, stub.from) : std::nullopt;
    return made &&
           std::any_of(made->moved.begin(), made->moved.end(),
                       [&](const arch::MovedCode& one) { return one.original == counter.value; });
  });
}

bool FlightPlan::replaces(Addr site) const {
  return std::any_of(stubs.begin(), stubs.end(), [&](const PlannedStub& stub) {
    return stub.is_call && stub.from + arch::kSyscallBytes == site;
  });
}

FlightPlan plan_flights(const tracee::Memory& memory, const libc::Library& library, Frames& frames,
                        std::span<const Stopped> stopped) {
  return Planner(memory, library, frames, stopped).run();
}

std::optional<MadeStub> make_stub(const PlannedStub& planned, Addr to, Addr flight_code,
                                  std::optional<Addr> result) {
  MadeStub made;
  std::size_t skipped = 0;
  if (planned.is_call) {
    const auto begin =
        std::span(planned.code).first(std::min(planned.code.size(), arch::kSyscallBytes));
    if (!std::equal(begin.begin(), begin.end(), arch::kSyscallInstruction.begin(),
                    arch::kSyscallInstruction.end()))
      return std::nullopt;
    made.bytes = arch::flight_stub(to, flight_code);
    made.moved.push_back({to.value, planned.from.value});
    skipped = arch::kSyscallBytes;
  }
  const Addr tail = to + made.bytes.size();
  if (result) {
    const auto jump = arch::jump_to(tail, *result);
    made.bytes.insert(made.bytes.end(), jump.begin(), jump.end());
  }
  const Addr here = to + made.bytes.size();
  const Addr there = planned.from + skipped;
  const auto run = arch::move_run(std::span(planned.code).subspan(skipped), there, here,
                                  planned.least - skipped);
  if (!run || made.bytes.size() + run->bytes.size() > kStubBytes) return std::nullopt;
  for (const auto& place : run->places)
    made.moved.push_back({(here + place.moved).value, (there + place.original).value});
  made.bytes.insert(made.bytes.end(), run->bytes.begin(), run->bytes.end());
  if (result) made.moved.push_back({tail.value, there.value});
  return made;
}

Addr place_beside(Addr counter, std::span<const arch::BoundaryPatch> patches,
                  std::span<const arch::MovedCode> moved, bool calls_again) {
  const bool inside =
      std::any_of(patches.begin(), patches.end(), [&](const arch::BoundaryPatch& patch) {
        return counter.value > patch.address && counter.value < patch.address + arch::kPatchBytes;
      });
  std::optional<Addr> found;
  for (const arch::MovedCode& one : moved) {
    if (one.original != counter.value) continue;
    // A stub that leads on to a result does so right behind its `syscall`, before all else.
    if (!found || (calls_again && one.at < found->value)) found = Addr{one.at};
  }
  return inside ? found.value_or(counter) : counter;
}

std::optional<Addr> original_place(Addr counter, std::span<const arch::MovedCode> moved) {
  const auto found = std::find_if(moved.begin(), moved.end(), [&](const arch::MovedCode& one) {
    return one.at == counter.value;
  });
  return found == moved.end() ? std::nullopt : std::optional(Addr{found->original});
}

}  // namespace ckpt::ids
