#include "state/time/clocks.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "base/error.hpp"
#include "base/io.hpp"
#include "base/option.hpp"
#include "proc/text.hpp"
#include "state/surroundings/namespaces.hpp"

namespace ckpt::state {

namespace {

constexpr int kNewTime = 0x80;  // CLONE_NEWTIME; <sched.h> of glibc 2.36 lacks it
constexpr const char* kOffsets = "/proc/self/timens_offsets";

timespec normal(std::int64_t seconds, std::int64_t nanoseconds) {
  seconds += nanoseconds / kNanosecondsPerSecond;
  nanoseconds %= kNanosecondsPerSecond;
  if (nanoseconds < 0) {
    --seconds;
    nanoseconds += kNanosecondsPerSecond;
  }
  return {seconds, nanoseconds};
}
timespec sum(const timespec& a, const timespec& b) {
  return normal(a.tv_sec + b.tv_sec, a.tv_nsec + b.tv_nsec);
}
timespec difference(const timespec& a, const timespec& b) {
  return normal(a.tv_sec - b.tv_sec, a.tv_nsec - b.tv_nsec);
}

timespec now(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return time;
}

bool is_privileged() {
  // unshare(2) wants CAP_SYS_ADMIN, and setting the clocks CAP_SYS_TIME.
  constexpr std::uint64_t kBoth = 1ULL << 21U | 1ULL << 25U;
  return (proc::ProcessDir(::getpid()).status().effective_capabilities & kBoth) == kBoth;
}

struct Offsets {
  timespec monotonic{};
  timespec boottime{};
};

// The offsets that children will have, from the clocks of the machine: as long as no namespace was
// made for them, those that we have ourselves.
Offsets read_offsets() {
  Offsets offsets;
  const std::string text = read_file(kOffsets, kPageSize);
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view line = proc::cut(rest, '\n');
    const std::string_view name = proc::next_word(line);
    const auto seconds = proc::parse_number<std::int64_t>(proc::next_word(line));
    const auto nanoseconds = proc::parse_number<std::int64_t>(proc::next_word(line));
    if (!seconds || !nanoseconds) continue;
    if (name == "monotonic" || name == "1") offsets.monotonic = {*seconds, *nanoseconds};
    if (name == "boottime" || name == "7") offsets.boottime = {*seconds, *nanoseconds};
  }
  return offsets;
}

void enter_time_namespace(const ClockState& saved) {
  // What we see has offsets as well if we are in such a namespace ourselves. A second attempt at a
  // restore finds those of the first.
  static const Offsets ours = read_offsets();
  if (::unshare(kNewTime) != 0)
    throw_errno(fmt::format("clocks: make a time namespace, as {} needs (use {})",
                            option("clock keep"), option("clock real")),
                errno);
  const timespec monotonic = sum(ours.monotonic, difference(saved.monotonic, now(CLOCK_MONOTONIC)));
  const timespec boottime = sum(ours.boottime, difference(saved.boottime, now(CLOCK_BOOTTIME)));
  write_setting(kOffsets, fmt::format("monotonic {} {}\nboottime {} {}\n", monotonic.tv_sec,
                                      monotonic.tv_nsec, boottime.tv_sec, boottime.tv_nsec));
}

std::string span_text(std::int64_t seconds) {
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 7200) return fmt::format("{} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} days", seconds / 86400);
}

void tell_of_jump(const ClockState& saved, bool asked_for, std::vector<std::string>& notes) {
  const timespec ahead = difference(now(CLOCK_MONOTONIC), saved.monotonic);
  if (ahead.tv_sec < 0)
    notes.push_back(fmt::format(
        "THE MACHINE WAS BOOTED SINCE, OR IS ANOTHER ONE: CLOCK_MONOTONIC is {} behind what the "
        "program saw last, and what waits for a point in time on it waits that much longer: "
        "{} has it go on",
        span_text(-ahead.tv_sec), option("clock keep")));
  else if (asked_for)
    notes.push_back(fmt::format("the program's CLOCK_MONOTONIC and CLOCK_BOOTTIME jump {} ahead",
                                span_text(ahead.tv_sec)));
}

}  // namespace

ClockState ask_clocks_ahead(CaptureContext& context) {
  const ClockState ours{now(CLOCK_MONOTONIC), now(CLOCK_BOOTTIME)};
  const auto monotonic = context.reserve<timespec>();
  const auto boottime = context.reserve<timespec>();
  tracee::Batch batch(context);
  batch.add(SYS_clock_gettime, {CLOCK_MONOTONIC, monotonic});
  batch.add(SYS_clock_gettime, {CLOCK_BOOTTIME, boottime});
  batch.run_all("clock_gettime");
  return {difference(monotonic.read(), ours.monotonic), difference(boottime.read(), ours.boottime)};
}

ClockState clocks_by_now(const ClockState& ahead) {
  return {sum(now(CLOCK_MONOTONIC), ahead.monotonic), sum(now(CLOCK_BOOTTIME), ahead.boottime)};
}

namespace {

// As far as the kernel lets an offset reach (KTIME_SEC_MAX / 2).
using ClockTime = image::Time<timespec, INT64_MAX / kNanosecondsPerSecond / 2>;

}  // namespace

const image::Fields<ClockState>& fields_of(const ClockState* /*type*/) {
  using Field = image::Field<ClockState>;
  static const image::Fields<ClockState> fields = {
      "clocks",
      {Field::as<ClockTime>("monotonic", &ClockState::monotonic,
                            "CLOCK_MONOTONIC as the program saw it: seconds and nanoseconds"),
       Field::as<ClockTime>("boottime", &ClockState::boottime, "CLOCK_BOOTTIME, likewise")}};
  return fields;
}

void check_clocks(ClockMode mode) {
  if (mode != ClockMode::keep) return;
  if (::access(kOffsets, F_OK) != 0)
    fail(ErrorKind::unsupported,
         "{} needs time namespaces, which this kernel does not have: use {}", option("clock keep"),
         option("clock real"));
  if (is_zero_setting("/proc/sys/user/max_time_namespaces"))
    fail(ErrorKind::refused,
         "{} needs a time namespace, and user.max_time_namespaces allows none: use {}",
         option("clock keep"), option("clock real"));
  if (is_privileged()) return;
  if (!may_have_user_namespace())
    fail(ErrorKind::refused,
         "{} needs a user namespace, which this system does not allow an ordinary user: use {}",
         option("clock keep"), option("clock real"));
}

void enter_clocks(const std::optional<ClockState>& saved, ClockMode mode,
                  std::vector<std::string>& notes) {
  if (!saved) return;
  check_clocks(mode);
  if (mode == ClockMode::automatic && is_privileged()) {
    try {
      enter_time_namespace(*saved);
      return;
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): not everywhere root is that mighty
    }
  }
  if (mode != ClockMode::keep) {
    tell_of_jump(*saved, mode == ClockMode::real, notes);
    return;
  }
  if (!is_privileged()) {
    enter_user_namespace(fmt::format("clocks: make a user namespace, as {} needs (use {})",
                                     option("clock keep"), option("clock real")));
    notes.emplace_back(
        "to keep its clocks the program runs in a user namespace: files of other users look as if "
        "they belonged to nobody");
  }
  enter_time_namespace(*saved);
}

bool has_own_clocks(const proc::ProcessDir& process) {
  struct stat ours {};
  struct stat theirs {};
  return ::stat("/proc/self/ns/time", &ours) == 0 &&
         ::stat(process.path("ns/time").c_str(), &theirs) == 0 &&
         (ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev);
}

}  // namespace ckpt::state
