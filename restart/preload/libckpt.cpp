// libckpt.so: a program started with LD_PRELOAD=/path/of/libckpt.so saves itself on SIGUSR2.
//
// A constructor installs a handler. The handler starts ckpt-save on its own process, and goes on:
// ckpt-save stops the program from outside, as it does any program, and lets it go on. What must
// not be seen of this:
//
//  1. ckpt-save must not be a child here: the program's wait() would find it, and the
//     snapshot would name it. So a child without a signal at its end (wait() does not see those)
//     makes another one, and ends; that one is an orphan.
//  2. Both share the program's memory until they end or execute ckpt-save, so that nothing is
//     copied however large the program is. The handler waits until then, for a program that shares
//     its memory cannot be saved.
//  3. Where only descendants may be traced (Yama), the program must allow its tracer by name. That
//     takes the orphan's id, and a call by the program itself, before ckpt-save begins. So the
//     orphan waits for "go".
//
// The handler may run anywhere, and the constructor runs before the C library need be ready (see
// bare.hpp): nothing is used in them but system calls, and in the handler what was prepared by the
// constructor. The ids that it needs are the kernel's. In a program that was restored with new ids
// the C library's functions give those that the program remembers, so the calls are made here.
//
// The one thing that is taken from others is dlsym, for the functions at the end of this file: they
// stand before those of the C library, and pass on what the program wants of these.
#include <dlfcn.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <ctime>

#include "bare.hpp"

#pragma weak dlsym

namespace ckpt::preload {
namespace {

constexpr std::size_t kStackBytes = 16384;
constexpr int kMostParents = 5;
constexpr time_t kPatienceSeconds = 30;
constexpr int kCannotStart = 127;  // as the dynamic linker has it
constexpr int kLastSignal = 64;
// The two before it are the C library's own. (musl has three; RTMIN is what `kill` takes for it.)
constexpr int kFirstRealTime = 34;
constexpr std::array kSignalNames = {
    "",     "HUP",  "INT",  "QUIT", "ILL",    "TRAP",   "ABRT",  "BUS",  "FPE",  "KILL", "USR1",
    "SEGV", "USR2", "PIPE", "ALRM", "TERM",   "STKFLT", "CHLD",  "CONT", "STOP", "TSTP", "TTIN",
    "TTOU", "URG",  "XCPU", "XFSZ", "VTALRM", "PROF",   "WINCH", "POLL", "PWR",  "SYS"};

Text<PATH_MAX> save_program;
// What decides where the store is, and what ckpt-save needs to be found and to speak.
Text<16384> environment_text;
std::array<char*, 8> environment{};
int chosen_signal = 0;         // 0: the handler is not installed
bool program_uses_it = false;  // has been said

std::array<std::array<char, kStackBytes>, 2> stacks alignas(16);
std::atomic_flag busy = ATOMIC_FLAG_INIT;
std::atomic<int> orphan_id{0};
int go = 0;
int sharing = 0;  // the kernel clears it when the orphan has its own memory, or is gone

void say(const char* what, const char* more = "") {
  Line<1024> line;
  line << "libckpt: " << what << more << "\n";
  call(SYS_write, STDERR_FILENO, word(line.text()), static_cast<long>(line.size()));
}

/// Until `*what` is no longer `value`, or patience is at an end.
void wait_while(int* what, int value) {
  const timespec patience{kPatienceSeconds, 0};
  while (__atomic_load_n(what, __ATOMIC_SEQ_CST) == value) {
    const long result = call(SYS_futex, word(what), FUTEX_WAIT, value, word(&patience));
    if (result == -ETIMEDOUT) return;
  }
}

void wake(int* what) { call(SYS_futex, word(what), FUTEX_WAKE, INT_MAX); }

/// The process id as the kernel has it where /proc is mounted, which is where ckpt-save looks.
void write_own_id(Text<24>& text) {
  const long length =
      call(SYS_readlink, word("/proc/self"), word(text.data()), static_cast<long>(text.size() - 1));
  text[length > 0 ? static_cast<std::size_t>(length) : 0] = 0;
}

int become_save(void* argument) {
  wait_while(&go, 0);
  if (__atomic_load_n(&go, __ATOMIC_SEQ_CST) == 0) call(SYS_exit_group, 1);
  call(SYS_setsid);
  // Its descriptors are copies of the program's, and would keep pipes open.
  const long null = call(SYS_open, word("/dev/null"), O_RDWR);
  call(SYS_dup2, null, STDIN_FILENO);
  if (call(SYS_dup2, STDERR_FILENO, STDOUT_FILENO) < 0) {
    call(SYS_dup2, null, STDOUT_FILENO);
    call(SYS_dup2, null, STDERR_FILENO);
  }
  call(SYS_close_range, 3, static_cast<long>(UINT_MAX), 0);
  // The program's handlers end with its memory; what it ignores and blocks would not.
  const Action standard;
  for (int signal = 1; signal <= kLastSignal; ++signal)
    call(SYS_rt_sigaction, signal, word(&standard), 0, sizeof standard.blocked);
  const long none = 0;
  call(SYS_rt_sigprocmask, SIG_SETMASK, word(&none), 0, sizeof none);
  const std::array<const char*, 3> words = {save_program.data(), static_cast<const char*>(argument),
                                            nullptr};
  const long result =
      call(SYS_execve, word(save_program.data()), word(words.data()), word(environment.data()));
  say(result == -ENOENT ? "not saved: there is no " : "not saved: cannot execute ",
      save_program.data());
  call(SYS_exit_group, 1);
  return 1;
}

int make_orphan(void* argument) {
  const long id = clone_running(&become_save, argument, stacks[1].data() + kStackBytes,
                                CLONE_VM | CLONE_CHILD_CLEARTID, &sharing);
  if (id < 0) __atomic_store_n(&sharing, 0, __ATOMIC_SEQ_CST);
  orphan_id = static_cast<int>(id);
  call(SYS_exit_group, 0);
  return 0;
}

void on_signal(int /*signal*/, siginfo_t* /*info*/, void* /*context*/) {
  // A second signal while the first one is looked after, in another thread.
  if (busy.test_and_set()) return;
  Text<24> own_id{};
  write_own_id(own_id);
  orphan_id = 0;
  __atomic_store_n(&go, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&sharing, 1, __ATOMIC_SEQ_CST);
  const long child = clone_running(&make_orphan, own_id.data(), stacks[0].data() + kStackBytes,
                                   CLONE_VM | CLONE_VFORK);
  if (child > 0) {
    int status = 0;
    while (call(SYS_wait4, child, word(&status), __WALL, 0) == -EINTR) {
    }
  }
  if (orphan_id <= 0) {
    say("not saved: no process could be made");
  } else {
    call(SYS_prctl, PR_SET_PTRACER, orphan_id);
    __atomic_store_n(&go, 1, __ATOMIC_SEQ_CST);
    wake(&go);
    wait_while(&sharing, 1);
  }
  busy.clear();
}

// -- setting up --

/// "12", "USR1", "SIGUSR1", "RTMIN+3"; 0 for what is no signal that can be caught.
int signal_number(const char* text) {
  if (const char* rest = after(text, "SIG")) text = rest;
  int number = 0;
  if (const char* rest = after(text, "RTMIN")) {
    if (*rest == 0) return kFirstRealTime;
    const int more = *rest == '+' ? number_in(rest + 1, kLastSignal - kFirstRealTime) : -1;
    return more < 0 ? 0 : kFirstRealTime + more;
  }
  if (*text >= '0' && *text <= '9') {
    number = number_in(text, kLastSignal);
  } else {
    for (std::size_t i = 1; i < kSignalNames.size(); ++i)
      if (equal(kSignalNames[i], text)) number = static_cast<int>(i);
  }
  const bool possible = number > 0 && number != SIGKILL && number != SIGSTOP;
  const bool of_the_c_library = number >= SIGSYS + 1 && number < kFirstRealTime;
  return possible && !of_the_c_library ? number : 0;
}

int hexadecimal(int digit) { return digit <= '9' ? digit - '0' : digit - 'a' + 10; }

/// Whether a line of /proc/self/maps is about the mapping that holds this address.
bool holds(const char* line, std::uintptr_t address) {
  std::array<std::uintptr_t, 2> bounds{};
  for (std::uintptr_t& bound : bounds) {
    for (; *line != '-' && *line != ' '; ++line) {
      if (*line == 0) return false;
      bound = bound * 16 + static_cast<std::uintptr_t>(hexadecimal(*line));
    }
    ++line;
  }
  return bounds[0] <= address && address < bounds[1];
}

/// The file that this library is, with all symbolic links resolved; empty if that is not to be
/// found out.
void write_own_path(Text<PATH_MAX>& path) {
  path[0] = 0;
  File maps("/proc/self/maps");
  Text<PATH_MAX + 128> line;
  while (maps.next_until('\n', line)) {
    if (!holds(line.data(), reinterpret_cast<std::uintptr_t>(&on_signal))) continue;
    const char* from = line.data();
    while (*from != '/' && *from != 0) ++from;
    std::size_t used = 0;
    while (*from != 0 && used + 1 < path.size()) {
      const char* rest = after(from, "\\012");  // the one byte that the kernel does not print
      path[used++] = rest != nullptr ? '\n' : *from;
      from = rest != nullptr ? rest : from + 1;
    }
    path[used] = 0;
    return;
  }
}

/// The program beside us: in bin/ of one of the directories that we lie in.
bool find_program() {
  Text<PATH_MAX> path;
  write_own_path(path);
  std::size_t end = length(path.data());
  for (int i = 0; i <= kMostParents; ++i) {
    while (end > 0 && path[end] != '/') --end;
    if (path[end] != '/') return false;
    path[end] = 0;
    Line<PATH_MAX> program;
    program << path.data() << "/bin/ckpt-save";
    if (program.size() + 1 < PATH_MAX && call(SYS_access, word(program.text()), X_OK) == 0) {
      memcpy(save_program.data(), program.text(), program.size() + 1);
      return true;
    }
    if (end == 0) return false;
  }
  return false;
}

/// The environment that the program was started with, as far as it matters; the wanted signal's
/// name. The program may change its environment, and its memory may be anywhere: copies are kept.
/// Not LD_PRELOAD: ckpt-save is not to save itself.
void read_environment(Text<64>& wanted_signal) {
  File variables("/proc/self/environ");
  std::size_t used = 0;
  std::size_t count = 0;
  Text<environment_text.size() + 1> variable;  // what is cut is too long for the other
  while (variables.next_until(0, variable)) {
    const char* value = after(variable.data(), "CKPT_SIGNAL=");
    if (value != nullptr && wanted_signal[0] == 0)
      memcpy(wanted_signal.data(), value, std::min(length(value), wanted_signal.size() - 1));
    for (const char* name : {"CKPT_DIR=", "XDG_DATA_HOME=", "HOME=", "PATH=", "LANG=", "LC_ALL="}) {
      const std::size_t size = length(variable.data()) + 1;
      if (after(variable.data(), name) == nullptr || size > environment_text.size() - used ||
          count + 1 >= environment.size())
        continue;
      char* to = environment_text.data() + used;
      memcpy(to, variable.data(), size);
      environment[count++] = to;
      used += size;
    }
  }
}

/// The function that the program would have got without this library.
template <typename Function>
Function real(const char* name) {
  void* found = dlsym != nullptr ? ::dlsym(RTLD_NEXT, name) : nullptr;
  if (found == nullptr) {
    say("the C library has no dlsym to find this function: ", name);
    call(SYS_exit_group, kCannotStart);
  }
  return reinterpret_cast<Function>(found);
}

using Sigaction = int (*)(int, const struct sigaction*, struct sigaction*);

int real_sigaction(int signal, const struct sigaction* action, struct sigaction* old) {
  static const auto function = real<Sigaction>("sigaction");
  return function(signal, action, old);
}

void say_that_it_is_used() {
  if (program_uses_it) return;
  program_uses_it = true;
  const auto number = static_cast<std::size_t>(chosen_signal);
  Line<256> text;
  if (number < kSignalNames.size()) text << "SIG" << kSignalNames[number];
  if (number >= kSignalNames.size()) text << "a real-time signal";
  text << ", so it cannot be used for saving; "
       << "CKPT_SIGNAL=NAME in the environment chooses another signal";
  say("the program itself uses ", text.text());
}

/// Whether the program takes our signal for itself by this action. One that puts the default back
/// does not use the signal (some do that to all signals when they start): ours stays.
enum class Wish { not_ours, default_action, its_own };

Wish wish(int signal, const void* handler) {
  if (chosen_signal == 0 || signal != chosen_signal || program_uses_it ||
      handler == reinterpret_cast<void*>(&on_signal))
    return Wish::not_ours;
  if (handler == reinterpret_cast<void*>(SIG_DFL)) return Wish::default_action;
  say_that_it_is_used();
  return Wish::its_own;
}

void note_waiting_for(const sigset_t* set) {
  if (chosen_signal == 0 || set == nullptr) return;
  std::uint64_t signals = 0;
  memcpy(&signals, set, sizeof signals);
  if ((signals >> (chosen_signal - 1) & 1) != 0) say_that_it_is_used();
}

using Handler = void (*)(int);

Handler set_simple(const char* name, int signal, Handler handler) {
  if (wish(signal, reinterpret_cast<void*>(handler)) == Wish::default_action) return SIG_DFL;
  return real<Handler (*)(int, Handler)>(name)(signal, handler);
}

__attribute__((constructor)) void set_up() {
  Text<64> wanted{};
  read_environment(wanted);
  const int signal = wanted[0] != 0 ? signal_number(wanted.data()) : SIGUSR2;
  if (signal == 0) {
    say("CKPT_SIGNAL is no signal that can be caught: ", wanted.data());
    return;
  }
  if (!find_program()) {
    say("ckpt-save is not where it belongs: this program cannot save itself");
    return;
  }
  chosen_signal = signal;
  const void* before = action_of(signal).handler;
  if (before != reinterpret_cast<void*>(SIG_DFL) && before != reinterpret_cast<void*>(SIG_IGN)) {
    say_that_it_is_used();  // by another constructor
    return;
  }
  handle(signal, &on_signal);
}

}  // namespace
}  // namespace ckpt::preload

// -- what the program may do with the signal --

using ckpt::preload::Handler;
using ckpt::preload::note_waiting_for;
using ckpt::preload::real;
using ckpt::preload::real_sigaction;
using ckpt::preload::set_simple;
using ckpt::preload::Wish;
using ckpt::preload::wish;

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED int sigaction(int signal, const struct sigaction* action, struct sigaction* old) noexcept {
  if (action != nullptr &&
      wish(signal, reinterpret_cast<void*>(action->sa_handler)) == Wish::default_action)
    return real_sigaction(signal, nullptr, old);
  return real_sigaction(signal, action, old);
}

EXPORTED Handler signal(int signal, Handler handler) noexcept {
  return set_simple("signal", signal, handler);
}

EXPORTED Handler __sysv_signal(int signal, Handler handler) noexcept {
  return set_simple("__sysv_signal", signal, handler);
}

EXPORTED Handler sigset(int signal, Handler handler) noexcept {
  return set_simple("sigset", signal, handler);
}

EXPORTED int sigwait(const sigset_t* set, int* signal) {
  note_waiting_for(set);
  static const auto function = real<int (*)(const sigset_t*, int*)>("sigwait");
  return function(set, signal);
}

EXPORTED int sigwaitinfo(const sigset_t* set, siginfo_t* info) {
  note_waiting_for(set);
  static const auto function = real<int (*)(const sigset_t*, siginfo_t*)>("sigwaitinfo");
  return function(set, info);
}

EXPORTED int sigtimedwait(const sigset_t* set, siginfo_t* info, const timespec* timeout) {
  note_waiting_for(set);
  static const auto function =
      real<int (*)(const sigset_t*, siginfo_t*, const timespec*)>("sigtimedwait");
  return function(set, info, timeout);
}

EXPORTED int signalfd(int fd, const sigset_t* set, int flags) noexcept {
  note_waiting_for(set);
  static const auto function = real<int (*)(int, const sigset_t*, int)>("signalfd");
  return function(fd, set, flags);
}
