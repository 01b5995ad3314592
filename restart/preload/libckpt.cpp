// libckpt.so: a program started with LD_PRELOAD=/path/of/libckpt.so saves itself on SIGUSR2.
//
// A constructor installs a handler. The handler starts ckpt-save on its own process, and goes on:
// ckpt-save stops the program from outside, as it does any program, and lets it go on. What must
// not be seen of this:
//
//  1. ckpt-save must be nobody's child here: a wait() of the program's would find it, and the
//     snapshot would name it. So a child without a signal at its end (wait() does not see those)
//     makes another one, and ends; that one is an orphan.
//  2. Both share the program's memory until they end or execute ckpt-save, so that nothing is
//     copied however large the program is. The handler waits until then, for a program that shares
//     its memory cannot be saved.
//  3. Where only descendants may be traced (Yama), the program must allow its tracer by name. That
//     takes the orphan's id, and a call by the program itself, before ckpt-save begins. So the
//     orphan waits for "go".
//
// The handler may run anywhere: nothing is used in it but system calls and what was prepared by the
// constructor. The ids that it needs are the kernel's. In a program that was restored with new ids
// the C library's functions give those that the program remembers, so the calls are made here.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace {

constexpr std::size_t kStackBytes = 16384;
constexpr int kMostParents = 5;
constexpr time_t kPatienceSeconds = 30;

template <std::size_t Size>
using Text = std::array<char, Size>;

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

long call(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  long result = 0;
  register long fourth asm("r10") = d;
  register long fifth asm("r8") = 0;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth)
               : "rcx", "r11", "memory");
  return result;
}

template <typename T>
long word(T* pointer) {
  return reinterpret_cast<long>(pointer);
}

void say(const char* what, const char* more = "") {
  Text<1024> line{};
  std::size_t length = 0;
  for (const char* part : {"libckpt: ", what, more, "\n"})
    while (*part != 0 && length < line.size()) line[length++] = *part++;
  call(SYS_write, STDERR_FILENO, word(line.data()), static_cast<long>(length));
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
  for (int signal = 1; signal < NSIG; ++signal) {
    std::array<long, 4> standard{};
    call(SYS_rt_sigaction, signal, word(standard.data()), 0, sizeof(long));
  }
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
  const int id = ::clone(&become_save, stacks[1].data() + kStackBytes,
                         CLONE_VM | CLONE_CHILD_CLEARTID, argument, nullptr, nullptr, &sharing);
  if (id < 0) __atomic_store_n(&sharing, 0, __ATOMIC_SEQ_CST);
  orphan_id = id;
  call(SYS_exit_group, 0);
  return 0;
}

void on_signal(int /*signal*/, siginfo_t* /*info*/, void* /*context*/) {
  const int saved_errno = errno;
  // A second signal while the first one is looked after, in another thread.
  if (busy.test_and_set()) return;
  Text<24> own_id{};
  write_own_id(own_id);
  orphan_id = 0;
  __atomic_store_n(&go, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&sharing, 1, __ATOMIC_SEQ_CST);
  const int child =
      ::clone(&make_orphan, stacks[0].data() + kStackBytes, CLONE_VM | CLONE_VFORK, own_id.data());
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
  errno = saved_errno;
}

// -- setting up --

/// "12", "USR1", "SIGUSR1", "RTMIN+3"; 0 for what is no signal that can be caught.
int signal_number(const char* text) {
  if (std::strncmp(text, "SIG", 3) == 0) text += 3;
  int number = 0;
  char* end = nullptr;
  if (std::strncmp(text, "RTMIN", 5) == 0 && (text[5] == '+' || text[5] == 0)) {
    const long more = text[5] == 0 ? 0 : std::strtol(text + 6, &end, 10);
    if ((end != nullptr && (*end != 0 || end == text + 6)) || more < 0 || more > NSIG) return 0;
    number = SIGRTMIN + static_cast<int>(more);
  } else if (*text >= '0' && *text <= '9') {
    const long value = std::strtol(text, &end, 10);
    number = *end == 0 && value < NSIG ? static_cast<int>(value) : 0;
  } else {
    for (int candidate = 1; candidate < 32; ++candidate) {
      const char* name = ::sigabbrev_np(candidate);
      if (name != nullptr && std::strcmp(name, text) == 0) number = candidate;
    }
  }
  if (number == SIGKILL || number == SIGSTOP || number > SIGRTMAX) return 0;
  return number > 31 && number < SIGRTMIN ? 0 : number;
}

/// The program beside us: in bin/ of one of the directories that we lie in.
bool find_program() {
  Dl_info info{};
  Text<PATH_MAX> path{};
  if (::dladdr(reinterpret_cast<void*>(&on_signal), &info) == 0 || info.dli_fname == nullptr ||
      ::realpath(info.dli_fname, path.data()) == nullptr)
    return false;
  for (int i = 0; i <= kMostParents; ++i) {
    char* slash = std::strrchr(path.data(), '/');
    if (slash == nullptr) return false;
    *slash = 0;
    constexpr const char* kProgram = "/bin/ckpt-save";
    if (std::strlen(path.data()) + std::strlen(kProgram) >= path.size()) continue;
    std::strcpy(save_program.data(), path.data());
    std::strcat(save_program.data(), kProgram);
    if (::access(save_program.data(), X_OK) == 0) return true;
  }
  return false;
}

/// The program may change its environment, and its memory may be anywhere: copies are kept. Not
/// LD_PRELOAD: ckpt-save is not to save itself.
void keep_environment() {
  std::size_t used = 0;
  std::size_t count = 0;
  for (const char* name : {"CKPT_DIR", "XDG_DATA_HOME", "HOME", "PATH", "LANG", "LC_ALL"}) {
    const char* value = std::getenv(name);
    if (value == nullptr) continue;
    const std::size_t size = std::strlen(name) + std::strlen(value) + 2;
    if (size > environment_text.size() - used) continue;
    char* to = environment_text.data() + used;
    std::strcpy(to, name);
    std::strcat(to, "=");
    std::strcat(to, value);
    environment[count++] = to;
    used += size;
  }
}

template <typename Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

using Sigaction = int (*)(int, const struct sigaction*, struct sigaction*);

int real_sigaction(int signal, const struct sigaction* action, struct sigaction* old) {
  static const auto function = real<Sigaction>("sigaction");
  return function(signal, action, old);
}

void say_that_it_is_used() {
  if (program_uses_it) return;
  program_uses_it = true;
  const char* name = chosen_signal < 32 ? ::sigabbrev_np(chosen_signal) : "a real-time signal";
  Text<256> text{};
  std::strcpy(text.data(), chosen_signal < 32 ? "SIG" : "");
  std::strcat(text.data(), name);
  std::strcat(text.data(), ", so it cannot be used for saving; ");
  std::strcat(text.data(), "CKPT_SIGNAL=NAME in the environment chooses another signal");
  say("the program itself uses ", text.data());
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
  if (chosen_signal != 0 && set != nullptr && sigismember(set, chosen_signal) == 1)
    say_that_it_is_used();
}

using Handler = void (*)(int);

Handler set_simple(const char* name, int signal, Handler handler) {
  if (wish(signal, reinterpret_cast<void*>(handler)) == Wish::default_action) return SIG_DFL;
  return real<Handler (*)(int, Handler)>(name)(signal, handler);
}

__attribute__((constructor)) void set_up() {
  const char* wanted = std::getenv("CKPT_SIGNAL");
  const int signal = wanted != nullptr && *wanted != 0 ? signal_number(wanted) : SIGUSR2;
  if (signal == 0) {
    say("CKPT_SIGNAL is no signal that can be caught: ", wanted);
    return;
  }
  if (!find_program()) {
    say("ckpt-save is not where it belongs: this program cannot save itself");
    return;
  }
  keep_environment();
  struct sigaction action {};
  struct sigaction before {};
  chosen_signal = signal;
  real_sigaction(signal, nullptr, &before);
  if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    say_that_it_is_used();  // by another constructor
    return;
  }
  action.sa_sigaction = &on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  real_sigaction(signal, &action, nullptr);
}

}  // namespace

// -- what the program may do with the signal --

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
