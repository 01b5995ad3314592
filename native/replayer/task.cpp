#include "replayer/task.hpp"

#include <sched.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ctime>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "base/error.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::replayer {

namespace {

constexpr int kEventShift = 16;
constexpr int kCallStop = SIGTRAP | 0x80;

tracee::Child launch(const recording::Start& start) {
  return recording::launch({start.program, start.arguments, start.environment}, PTRACE_O_TRACEFORK,
                           true);
}

// An instruction that makes a system call, in the kernel's own code, which stays where it is.
Addr find_call_instruction(Tid pid, const tracee::Memory& memory) {
  for (const auto& mapping : proc::ProcessDir(pid).mappings()) {
    if (mapping.path != "[vdso]") continue;
    std::vector<std::byte> code(mapping.size());
    memory.read(mapping.start, code);
    const auto found = std::search(code.begin(), code.end(), arch::kSyscallInstruction.begin(),
                                   arch::kSyscallInstruction.end());
    if (found != code.end())
      return mapping.start + static_cast<std::uint64_t>(found - code.begin());
  }
  fail(ErrorKind::unsupported, "the kernel maps no code with a system call (vdso)");
}

void check_files(const recording::Start& start) {
  for (const auto& file : start.files)
    if (recording::describe_file(file.path) != file)
      fail(ErrorKind::files, "{} has changed since the recording", file.path);
}

void check_mappings(const recording::Start& start, Tid pid) {
  const auto now = proc::ProcessDir(pid).mappings();
  for (const auto& expected : start.mappings) {
    const bool is_there = std::any_of(now.begin(), now.end(), [&](const proc::Mapping& mapping) {
      return mapping.start == expected.start && mapping.end == expected.end &&
             mapping.path == expected.path;
    });
    // The kernel's own come from it, and the program does not use them.
    if (!is_there && !expected.path.starts_with("[v"))
      fail(ErrorKind::refused, "the program starts with another layout: {} is not at {}",
           expected.path, expected.start);
  }
}

void on_alarm(int /*signal*/) {}

// Ends waits, again and again.
class Ticks {
 public:
  explicit Ticks(long microseconds) {
    struct sigaction action {};
    action.sa_handler = &on_alarm;
    ::sigaction(SIGALRM, &action, nullptr);
    const itimerval tick{{0, microseconds}, {0, microseconds}};
    ::setitimer(ITIMER_REAL, &tick, nullptr);
  }
  ~Ticks() {
    const itimerval never{};
    ::setitimer(ITIMER_REAL, &never, nullptr);
  }
  Ticks(const Ticks&) = delete;
  Ticks& operator=(const Ticks&) = delete;
};

Stop stop_of(Tid pid, int status) {
  if (!WIFSTOPPED(status))
    fail(ErrorKind::process_gone, "the replayed program {}", tracee::describe_status(status));
  if (status >> kEventShift == PTRACE_EVENT_STOP) return {Stop::Kind::interrupted, 0};
  if (status >> kEventShift != 0)
    fail(ErrorKind::system, "process {}: unexpected ptrace event", pid);
  if (WSTOPSIG(status) == kCallStop) return {Stop::Kind::call, 0};
  return {Stop::Kind::signal, WSTOPSIG(status)};
}

}  // namespace

Task::Task(const recording::Start& start)
    : process_(launch(start)), memory_(std::make_unique<tracee::Memory>(process_.pid())) {
  check_files(start);
  check_mappings(start, pid());
  call_instruction_ = find_call_instruction(pid(), *memory_);
  memory_->write(start.stack.at, start.stack.bytes);
  set_registers(start.registers);
}

Task::Task(tracee::Child process, Addr call_instruction)
    : process_(std::move(process)),
      memory_(std::make_unique<tracee::Memory>(process_.pid())),
      call_instruction_(call_instruction) {}

void Task::set_registers(arch::Registers registers) const {
  registers.leave_syscall();
  arch::set_registers(pid(), registers);
}

Stop Task::resume(int request) const {
  if (::ptrace(static_cast<__ptrace_request>(request), pid(), nullptr, nullptr) == -1)
    throw_errno(fmt::format("process {}: ptrace(SYSEMU)", pid()), errno);
  return wait();
}

Stop Task::wait() const {
  for (;;) {
    int status = 0;
    const Tid got = ::waitpid(pid(), &status, __WALL);
    if (got == pid()) return stop_of(pid(), status);
    if (errno != EINTR) throw_errno("waitpid", errno);
  }
}

Stop Task::run() const {
  for (;;) {
    const Stop stop = resume(arch::emulate_calls_request());
    if (stop.kind != Stop::Kind::interrupted) return stop;
  }
}

Stop Task::step() const { return resume(arch::emulate_calls_step_request()); }

Stop Task::run_for(std::uint64_t cpu_ns) const {
  constexpr std::uint64_t kEighthInMicroseconds = 8000;
  constexpr long kLeastTick = 20;
  constexpr long kMostTick = 1000;
  const std::uint64_t end = this->cpu_ns() + cpu_ns;
  const long tick =
      std::clamp(static_cast<long>(cpu_ns / kEighthInMicroseconds), kLeastTick, kMostTick);
  return run_ticking(tick, [&] { return this->cpu_ns() < end; });
}

Stop Task::run_while(const std::function<bool()>& go_on) const {
  constexpr long kTick = 5000;
  for (;;) {
    const Stop stop = run_ticking(kTick, go_on);
    // It may have been asked to stop before.
    if (stop.kind != Stop::Kind::interrupted || !go_on()) return stop;
  }
}

Stop Task::run_ticking(long tick_us, const std::function<bool()>& go_on) const {
  const Ticks ticks(tick_us);
  if (::ptrace(static_cast<__ptrace_request>(arch::emulate_calls_request()), pid(), nullptr,
               nullptr) == -1)
    throw_errno(fmt::format("process {}: ptrace(SYSEMU)", pid()), errno);
  for (bool asked = false;;) {
    if (!asked && !go_on()) {
      if (::ptrace(PTRACE_INTERRUPT, pid(), nullptr, nullptr) == -1)
        throw_errno(fmt::format("process {}: ptrace(INTERRUPT)", pid()), errno);
      asked = true;
    }
    int status = 0;
    const Tid got = ::waitpid(pid(), &status, __WALL);
    if (got == pid()) return stop_of(pid(), status);
    if (errno != EINTR) throw_errno("waitpid", errno);
  }
}

std::uint64_t Task::cpu_ns() const { return recording::process_cpu_ns(pid()); }

// Behind an emulated call the kernel first reports that call's exit.
std::int64_t Task::call(int number, std::initializer_list<std::uint64_t> arguments) const {
  const auto before = registers();
  auto calling = before;
  calling.leave_syscall();
  calling.set_pc(call_instruction_);
  calling.set_next_syscall(static_cast<arch::Word>(number));
  std::size_t n = 0;
  for (const std::uint64_t argument : arguments) calling.set_arg(n++, argument);
  while (n < arch::kCallArguments) calling.set_arg(n++, 0);
  arch::set_registers(pid(), calling);
  for (bool entered = false;;) {
    tracee::resume(pid(), tracee::Resume::to_syscall);
    const int status = tracee::wait_stop(pid());
    if (status >> kEventShift != 0) continue;  // the copy's birth
    if (WSTOPSIG(status) != kCallStop)
      fail(ErrorKind::system, "process {}: {} within a system call", pid(),
           tracee::describe_status(status));
    const auto kind = tracee::get_syscall_stop(pid());
    if (kind == tracee::SyscallStop::entry) entered = true;
    if (kind == tracee::SyscallStop::exit && entered) break;
  }
  const std::int64_t result = registers().syscall_result();
  arch::set_registers(pid(), before);
  return result;
}

Task Task::copy() const {
  const auto before = registers();
  // CLONE_PARENT: the task itself gets no signal of the copy's end.
  const std::int64_t made =
      call(arch::clone_call(), {CLONE_PARENT | static_cast<std::uint64_t>(SIGCHLD)});
  if (made < 0)
    throw_errno(fmt::format("process {}: a copy of it", pid()), static_cast<int>(-made));
  tracee::Child process(static_cast<Tid>(made));
  tracee::wait_stop(process.pid());
  arch::set_registers(process.pid(), before);
  return {std::move(process), call_instruction_};
}

}  // namespace ckpt::replayer
