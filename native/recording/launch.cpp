#include "recording/launch.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <ctime>

#include <array>
#include <cerrno>
#include <csignal>

#include "base/coverage.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/process_dir.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::recording {

namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const auto& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw_errno("pipe", errno);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  UniqueFd reader;
  UniqueFd writer;
};

// In the child. Only calls that are safe between fork and exec.
[[noreturn]] void become(const Command& command, char* const* arguments, char* const* environment,
                         const Pipe& go, const Pipe& failure, bool silent) {
  char byte = 0;
  // The end of file: the process that started us is gone.
  if (::read(go.reader.get(), &byte, 1) != 1) ::_exit(127);
  ::personality(ADDR_NO_RANDOMIZE);
  if (silent) {
    const int null = ::open("/dev/null", O_RDWR);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  }
  write_coverage();
  ::execve(command.program.c_str(), arguments, environment);
  const int error_number = errno;
  [[maybe_unused]] const ssize_t n =
      ::write(failure.writer.get(), &error_number, sizeof error_number);
  write_coverage();
  ::_exit(127);
}

void seize(Tid pid, unsigned long options) {
  if (::ptrace(PTRACE_SEIZE, pid, nullptr, options) == -1)
    throw_errno(fmt::format("process {}: ptrace(SEIZE)", pid), errno);
}

// To behind execve(2), where the first instruction is next.
void run_to_start(Tid pid, const std::string& program, const Pipe& failure) {
  for (;;) {
    int status = 0;
    if (::waitpid(pid, &status, __WALL) != pid) throw_errno("waitpid", errno);
    if (!WIFSTOPPED(status)) break;
    constexpr int kEventShift = 16;
    const bool executed = status >> kEventShift == PTRACE_EVENT_EXEC;
    tracee::resume(pid, executed ? tracee::Resume::to_syscall : tracee::Resume::run);
    if (!executed) continue;
    tracee::wait_stop(pid);
    return;
  }
  int error_number = ENOEXEC;
  [[maybe_unused]] const ssize_t n =
      ::read(failure.reader.get(), &error_number, sizeof error_number);
  throw_errno(fmt::format("execute {}", program), error_number);
}

// The address of the auxiliary vector: behind the arguments and the environment.
Addr auxiliary_vector(const tracee::Memory& memory, Addr stack_pointer) {
  constexpr std::uint64_t kWordBytes = sizeof(std::uint64_t);
  Addr at = stack_pointer + kWordBytes * (memory.read_value<std::uint64_t>(stack_pointer) + 2);
  while (memory.read_value<std::uint64_t>(at) != 0) at = at + kWordBytes;
  return at + kWordBytes;
}

}  // namespace

tracee::Child launch(const Command& command, unsigned long trace_options, bool silent) {
  const auto arguments = pointers(command.arguments);
  const auto environment = pointers(command.environment);
  Pipe go;
  Pipe failure;
  const Tid pid = ::fork();
  if (pid < 0) throw_errno("fork", errno);
  if (pid == 0) {
    go.writer.reset();
    become(command, arguments.data(), environment.data(), go, failure, silent);
  }
  tracee::Child process(pid);
  failure.writer.reset();
  seize(pid, trace_options | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
  write_all(go.writer.get(), "g", "pipe");
  run_to_start(pid, command.program, failure);
  return process;
}

void hide_vdso(const tracee::Memory& memory, const arch::Registers& registers) {
  for (Addr at = auxiliary_vector(memory, registers.sp());; at = at + sizeof(Elf64_auxv_t)) {
    const auto entry = memory.read_value<Elf64_auxv_t>(at);
    if (entry.a_type == AT_NULL) return;
    if (entry.a_type == AT_SYSINFO_EHDR) memory.write_value(at, Elf64_auxv_t{AT_IGNORE, {0}});
  }
}

Start describe_start(const Command& command, Tid pid, const tracee::Memory& memory) {
  Start start;
  start.program = command.program;
  start.arguments = command.arguments;
  start.environment = command.environment;
  start.registers = arch::get_registers(pid);
  for (const auto& mapping : proc::ProcessDir(pid).mappings()) {
    start.mappings.push_back({mapping.start, mapping.end, mapping.path});
    if (mapping.has_object() && (start.files.empty() || start.files.back().path != mapping.path))
      start.files.push_back(describe_file(mapping.path));
    if (!mapping.contains(start.registers.sp())) continue;
    start.stack.at = start.registers.sp();
    start.stack.bytes.resize(mapping.end - start.registers.sp());
    memory.read(start.stack.at, start.stack.bytes);
  }
  return start;
}

std::uint64_t process_cpu_ns(Tid pid) {
  // The clock of another process's CPU time, as clock_getcpuclockid(3) makes its number.
  constexpr unsigned kProcessClock = 2;
  timespec time{};
  const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(pid) << 3U) | kProcessClock);
  if (::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<std::uint64_t>(time.tv_sec * kNanosecondsPerSecond + time.tv_nsec);
}

MappedFile describe_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw_errno(path, errno);
  return {path, static_cast<std::uint64_t>(status.st_size),
          status.st_mtim.tv_sec * kNanosecondsPerSecond + status.st_mtim.tv_nsec};
}

}  // namespace ckpt::recording
