// The system calls of x86-64, as of Linux 6.17. See arch/syscall_rules.hpp.
//
// A call without outputs writes nothing into the process's memory. Sizes are those of the kernel's
// structures for 64-bit programs.
#include "arch/syscall_rules.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <initializer_list>

namespace ckpt::arch {

namespace {

constexpr Output fixed(std::uint8_t pointer, std::uint32_t bytes) {
  return {pointer, OutputSize::fixed, bytes, 0};
}
constexpr Output result(std::uint8_t pointer, std::uint32_t unit = 1) {
  return {pointer, OutputSize::result, unit, 0};
}
constexpr Output argument(std::uint8_t pointer, std::uint8_t other, std::uint32_t unit = 1) {
  return {pointer, OutputSize::argument, unit, other};
}
constexpr Output bits(std::uint8_t pointer, std::uint8_t other) {
  return {pointer, OutputSize::bits, 1, other};
}
constexpr Output pages(std::uint8_t pointer, std::uint8_t other) {
  return {pointer, OutputSize::pages, 1, other};
}
constexpr Output vector(std::uint8_t pointer, std::uint8_t other) {
  return {pointer, OutputSize::vector, 1, other};
}
constexpr Output pointed(std::uint8_t pointer, std::uint8_t other) {
  return {pointer, OutputSize::pointed, 1, other};
}
constexpr Output message(std::uint8_t pointer) { return {pointer, OutputSize::message, 1, 0}; }
constexpr Output messages(std::uint8_t pointer) { return {pointer, OutputSize::messages, 1, 0}; }
constexpr Output sized_header(std::uint8_t pointer, std::uint32_t header_bytes) {
  return {pointer, OutputSize::sized_header, header_bytes, 0};
}

using Outputs = std::initializer_list<Output>;

constexpr SyscallRule rule(int number, std::string_view name, Handling handling, Special special,
                           Outputs outputs) {
  SyscallRule made{number, name, handling, special, {}, {}};
  std::copy(outputs.begin(), outputs.end(), made.outputs.begin());
  return made;
}
constexpr SyscallRule plain(int number, std::string_view name, Outputs outputs = {}) {
  return rule(number, name, Handling::plain, Special::none, outputs);
}
constexpr SyscallRule special(int number, std::string_view name, Special special) {
  return rule(number, name, Handling::plain, special, {});
}
constexpr SyscallRule memory(int number, std::string_view name, Special special) {
  return rule(number, name, Handling::memory, special, {});
}
constexpr SyscallRule create(int number, std::string_view name, Special special) {
  return rule(number, name, Handling::create, special, {});
}
constexpr SyscallRule handled(int number, std::string_view name, Handling handling) {
  return rule(number, name, handling, Special::none, {});
}
constexpr SyscallRule absent(int number, std::string_view name) {
  return rule(number, name, Handling::absent, Special::none, {});
}
constexpr SyscallRule by_argument(int number, std::string_view name, Special special,
                                  Outputs outputs = {}) {
  return rule(number, name, Handling::by_argument, special, outputs);
}
constexpr SyscallRule refused(int number, std::string_view name, std::string_view reason) {
  return {number, name, Handling::refuse, Special::none, {}, reason};
}

// Numbers without a name are of calls that are newer than the oldest headers we build with.
constexpr auto kRules = std::to_array<SyscallRule>({
    plain(SYS_read, "read", {result(1)}),
    plain(SYS_write, "write"),
    plain(SYS_open, "open"),
    plain(SYS_close, "close"),
    plain(SYS_stat, "stat", {fixed(1, 144)}),
    plain(SYS_fstat, "fstat", {fixed(1, 144)}),
    plain(SYS_lstat, "lstat", {fixed(1, 144)}),
    plain(SYS_poll, "poll", {argument(0, 1, 8)}),
    plain(SYS_lseek, "lseek"),
    memory(SYS_mmap, "mmap", Special::mmap),
    memory(SYS_mprotect, "mprotect", Special::mprotect),
    memory(SYS_munmap, "munmap", Special::munmap),
    memory(SYS_brk, "brk", Special::brk),
    plain(SYS_rt_sigaction, "rt_sigaction", {fixed(2, 32)}),
    plain(SYS_rt_sigprocmask, "rt_sigprocmask", {fixed(2, 8)}),
    handled(SYS_rt_sigreturn, "rt_sigreturn", Handling::sigreturn),
    by_argument(SYS_ioctl, "ioctl", Special::ioctl),
    plain(SYS_pread64, "pread64", {result(1)}),
    plain(SYS_pwrite64, "pwrite64"),
    plain(SYS_readv, "readv", {vector(1, 2)}),
    plain(SYS_writev, "writev"),
    plain(SYS_access, "access"),
    plain(SYS_pipe, "pipe", {fixed(0, 8)}),
    plain(SYS_select, "select", {bits(1, 0), bits(2, 0), bits(3, 0), fixed(4, 16)}),
    special(SYS_sched_yield, "sched_yield", Special::yield),
    memory(SYS_mremap, "mremap", Special::mremap),
    plain(SYS_msync, "msync"),
    plain(SYS_mincore, "mincore", {pages(2, 1)}),
    memory(SYS_madvise, "madvise", Special::madvise),
    plain(SYS_shmget, "shmget"),
    refused(SYS_shmat, "shmat", "memory shared with other processes"),
    plain(SYS_shmctl, "shmctl", {fixed(2, 112)}),
    plain(SYS_dup, "dup"),
    plain(SYS_dup2, "dup2"),
    plain(SYS_pause, "pause"),
    plain(SYS_nanosleep, "nanosleep", {fixed(1, 16)}),
    plain(SYS_getitimer, "getitimer", {fixed(1, 32)}),
    plain(SYS_alarm, "alarm"),
    plain(SYS_setitimer, "setitimer", {fixed(2, 32)}),
    plain(SYS_getpid, "getpid"),
    plain(SYS_sendfile, "sendfile", {fixed(2, 8)}),
    plain(SYS_socket, "socket"),
    plain(SYS_connect, "connect"),
    plain(SYS_accept, "accept", {pointed(1, 2)}),
    plain(SYS_sendto, "sendto"),
    plain(SYS_recvfrom, "recvfrom", {result(1), pointed(4, 5)}),
    plain(SYS_sendmsg, "sendmsg"),
    plain(SYS_recvmsg, "recvmsg", {message(1)}),
    plain(SYS_shutdown, "shutdown"),
    plain(SYS_bind, "bind"),
    plain(SYS_listen, "listen"),
    plain(SYS_getsockname, "getsockname", {pointed(1, 2)}),
    plain(SYS_getpeername, "getpeername", {pointed(1, 2)}),
    plain(SYS_socketpair, "socketpair", {fixed(3, 8)}),
    plain(SYS_setsockopt, "setsockopt"),
    plain(SYS_getsockopt, "getsockopt", {pointed(3, 4)}),
    create(SYS_clone, "clone", Special::clone),
    create(SYS_fork, "fork", Special::fork),
    create(SYS_vfork, "vfork", Special::vfork),
    refused(SYS_execve, "execve", "another program"),
    handled(SYS_exit, "exit", Handling::end_thread),
    plain(SYS_wait4, "wait4", {fixed(1, 4), fixed(3, 144)}),
    plain(SYS_kill, "kill"),
    plain(SYS_uname, "uname", {fixed(0, 390)}),
    plain(SYS_semget, "semget"),
    plain(SYS_semop, "semop"),
    by_argument(SYS_semctl, "semctl", Special::semctl, {fixed(3, 104)}),
    refused(SYS_shmdt, "shmdt", "memory shared with other processes"),
    plain(SYS_msgget, "msgget"),
    plain(SYS_msgsnd, "msgsnd"),
    plain(SYS_msgrcv, "msgrcv", {fixed(1, 8), argument(1, 2)}),
    plain(SYS_msgctl, "msgctl", {fixed(2, 120)}),
    by_argument(SYS_fcntl, "fcntl", Special::fcntl, {fixed(2, 32)}),
    plain(SYS_flock, "flock"),
    plain(SYS_fsync, "fsync"),
    plain(SYS_fdatasync, "fdatasync"),
    plain(SYS_truncate, "truncate"),
    plain(SYS_ftruncate, "ftruncate"),
    plain(SYS_getdents, "getdents", {result(1)}),
    plain(SYS_getcwd, "getcwd", {result(0)}),
    plain(SYS_chdir, "chdir"),
    plain(SYS_fchdir, "fchdir"),
    plain(SYS_rename, "rename"),
    plain(SYS_mkdir, "mkdir"),
    plain(SYS_rmdir, "rmdir"),
    plain(SYS_creat, "creat"),
    plain(SYS_link, "link"),
    plain(SYS_unlink, "unlink"),
    plain(SYS_symlink, "symlink"),
    plain(SYS_readlink, "readlink", {result(1)}),
    plain(SYS_chmod, "chmod"),
    plain(SYS_fchmod, "fchmod"),
    plain(SYS_chown, "chown"),
    plain(SYS_fchown, "fchown"),
    plain(SYS_lchown, "lchown"),
    plain(SYS_umask, "umask"),
    plain(SYS_gettimeofday, "gettimeofday", {fixed(0, 16), fixed(1, 8)}),
    plain(SYS_getrlimit, "getrlimit", {fixed(1, 16)}),
    plain(SYS_getrusage, "getrusage", {fixed(1, 144)}),
    plain(SYS_sysinfo, "sysinfo", {fixed(0, 112)}),
    plain(SYS_times, "times", {fixed(0, 32)}),
    refused(SYS_ptrace, "ptrace", "a tracer of its own"),
    plain(SYS_getuid, "getuid"),
    plain(SYS_syslog, "syslog", {result(1)}),
    plain(SYS_getgid, "getgid"),
    plain(SYS_setuid, "setuid"),
    plain(SYS_setgid, "setgid"),
    plain(SYS_geteuid, "geteuid"),
    plain(SYS_getegid, "getegid"),
    plain(SYS_setpgid, "setpgid"),
    plain(SYS_getppid, "getppid"),
    plain(SYS_getpgrp, "getpgrp"),
    plain(SYS_setsid, "setsid"),
    plain(SYS_setreuid, "setreuid"),
    plain(SYS_setregid, "setregid"),
    plain(SYS_getgroups, "getgroups", {result(1, 4)}),
    plain(SYS_setgroups, "setgroups"),
    plain(SYS_setresuid, "setresuid"),
    plain(SYS_getresuid, "getresuid", {fixed(0, 4), fixed(1, 4), fixed(2, 4)}),
    plain(SYS_setresgid, "setresgid"),
    plain(SYS_getresgid, "getresgid", {fixed(0, 4), fixed(1, 4), fixed(2, 4)}),
    plain(SYS_getpgid, "getpgid"),
    plain(SYS_setfsuid, "setfsuid"),
    plain(SYS_setfsgid, "setfsgid"),
    plain(SYS_getsid, "getsid"),
    plain(SYS_capget, "capget", {fixed(0, 8), fixed(1, 24)}),
    plain(SYS_capset, "capset"),
    plain(SYS_rt_sigpending, "rt_sigpending", {fixed(0, 8)}),
    plain(SYS_rt_sigtimedwait, "rt_sigtimedwait", {fixed(1, 128)}),
    plain(SYS_rt_sigqueueinfo, "rt_sigqueueinfo"),
    plain(SYS_rt_sigsuspend, "rt_sigsuspend"),
    plain(SYS_sigaltstack, "sigaltstack", {fixed(1, 24)}),
    plain(SYS_utime, "utime"),
    plain(SYS_mknod, "mknod"),
    refused(SYS_uselib, "uselib", "an old loader"),
    plain(SYS_personality, "personality"),
    plain(SYS_ustat, "ustat", {fixed(1, 32)}),
    plain(SYS_statfs, "statfs", {fixed(1, 120)}),
    plain(SYS_fstatfs, "fstatfs", {fixed(1, 120)}),
    refused(SYS_sysfs, "sysfs", "its output is not known"),
    plain(SYS_getpriority, "getpriority"),
    plain(SYS_setpriority, "setpriority"),
    plain(SYS_sched_setparam, "sched_setparam"),
    plain(SYS_sched_getparam, "sched_getparam", {fixed(1, 4)}),
    plain(SYS_sched_setscheduler, "sched_setscheduler"),
    plain(SYS_sched_getscheduler, "sched_getscheduler"),
    plain(SYS_sched_get_priority_max, "sched_get_priority_max"),
    plain(SYS_sched_get_priority_min, "sched_get_priority_min"),
    plain(SYS_sched_rr_get_interval, "sched_rr_get_interval", {fixed(1, 16)}),
    plain(SYS_mlock, "mlock"),
    plain(SYS_munlock, "munlock"),
    plain(SYS_mlockall, "mlockall"),
    plain(SYS_munlockall, "munlockall"),
    plain(SYS_vhangup, "vhangup"),
    refused(SYS_modify_ldt, "modify_ldt", "segments of its own"),
    plain(SYS_pivot_root, "pivot_root"),
    absent(SYS__sysctl, "_sysctl"),
    by_argument(SYS_prctl, "prctl", Special::prctl, {fixed(1, 16)}),
    by_argument(SYS_arch_prctl, "arch_prctl", Special::arch_prctl, {fixed(1, 24)}),
    plain(SYS_adjtimex, "adjtimex", {fixed(0, 208)}),
    plain(SYS_setrlimit, "setrlimit"),
    plain(SYS_chroot, "chroot"),
    plain(SYS_sync, "sync"),
    refused(SYS_acct, "acct", "it administers the machine"),
    plain(SYS_settimeofday, "settimeofday"),
    plain(SYS_mount, "mount"),
    plain(SYS_umount2, "umount2"),
    refused(SYS_swapon, "swapon", "it administers the machine"),
    refused(SYS_swapoff, "swapoff", "it administers the machine"),
    refused(SYS_reboot, "reboot", "it ends the machine"),
    plain(SYS_sethostname, "sethostname"),
    plain(SYS_setdomainname, "setdomainname"),
    refused(SYS_iopl, "iopl", "hardware"),
    refused(SYS_ioperm, "ioperm", "hardware"),
    absent(SYS_create_module, "create_module"),
    refused(SYS_init_module, "init_module", "code of the kernel"),
    refused(SYS_delete_module, "delete_module", "code of the kernel"),
    absent(SYS_get_kernel_syms, "get_kernel_syms"),
    absent(SYS_query_module, "query_module"),
    refused(SYS_quotactl, "quotactl", "its output is not known"),
    absent(SYS_nfsservctl, "nfsservctl"),
    absent(SYS_getpmsg, "getpmsg"),
    absent(SYS_putpmsg, "putpmsg"),
    absent(SYS_afs_syscall, "afs_syscall"),
    absent(SYS_tuxcall, "tuxcall"),
    absent(SYS_security, "security"),
    plain(SYS_gettid, "gettid"),
    plain(SYS_readahead, "readahead"),
    plain(SYS_setxattr, "setxattr"),
    plain(SYS_lsetxattr, "lsetxattr"),
    plain(SYS_fsetxattr, "fsetxattr"),
    plain(SYS_getxattr, "getxattr", {result(2)}),
    plain(SYS_lgetxattr, "lgetxattr", {result(2)}),
    plain(SYS_fgetxattr, "fgetxattr", {result(2)}),
    plain(SYS_listxattr, "listxattr", {result(1)}),
    plain(SYS_llistxattr, "llistxattr", {result(1)}),
    plain(SYS_flistxattr, "flistxattr", {result(1)}),
    plain(SYS_removexattr, "removexattr"),
    plain(SYS_lremovexattr, "lremovexattr"),
    plain(SYS_fremovexattr, "fremovexattr"),
    plain(SYS_tkill, "tkill"),
    plain(SYS_time, "time", {fixed(0, 8)}),
    plain(SYS_futex, "futex", {fixed(0, 4), fixed(4, 4)}),
    plain(SYS_sched_setaffinity, "sched_setaffinity"),
    plain(SYS_sched_getaffinity, "sched_getaffinity", {result(2)}),
    refused(SYS_set_thread_area, "set_thread_area", "32-bit code"),
    refused(SYS_io_setup, "io_setup", "kernel AIO"),
    refused(SYS_io_destroy, "io_destroy", "kernel AIO"),
    refused(SYS_io_getevents, "io_getevents", "kernel AIO"),
    refused(SYS_io_submit, "io_submit", "kernel AIO"),
    refused(SYS_io_cancel, "io_cancel", "kernel AIO"),
    plain(SYS_get_thread_area, "get_thread_area", {fixed(0, 16)}),
    plain(SYS_lookup_dcookie, "lookup_dcookie", {result(1)}),
    plain(SYS_epoll_create, "epoll_create"),
    absent(SYS_epoll_ctl_old, "epoll_ctl_old"),
    absent(SYS_epoll_wait_old, "epoll_wait_old"),
    refused(SYS_remap_file_pages, "remap_file_pages", "pages of a file out of order"),
    plain(SYS_getdents64, "getdents64", {result(1)}),
    special(SYS_set_tid_address, "set_tid_address", Special::set_tid_address),
    plain(SYS_restart_syscall, "restart_syscall"),
    plain(SYS_semtimedop, "semtimedop"),
    plain(SYS_fadvise64, "fadvise64"),
    plain(SYS_timer_create, "timer_create", {fixed(2, 4)}),
    plain(SYS_timer_settime, "timer_settime", {fixed(3, 32)}),
    plain(SYS_timer_gettime, "timer_gettime", {fixed(1, 32)}),
    plain(SYS_timer_getoverrun, "timer_getoverrun"),
    plain(SYS_timer_delete, "timer_delete"),
    plain(SYS_clock_settime, "clock_settime"),
    plain(SYS_clock_gettime, "clock_gettime", {fixed(1, 16)}),
    plain(SYS_clock_getres, "clock_getres", {fixed(1, 16)}),
    plain(SYS_clock_nanosleep, "clock_nanosleep", {fixed(3, 16)}),
    handled(SYS_exit_group, "exit_group", Handling::end_process),
    plain(SYS_epoll_wait, "epoll_wait", {result(1, 12)}),
    plain(SYS_epoll_ctl, "epoll_ctl"),
    plain(SYS_tgkill, "tgkill"),
    plain(SYS_utimes, "utimes"),
    absent(SYS_vserver, "vserver"),
    plain(SYS_mbind, "mbind"),
    plain(SYS_set_mempolicy, "set_mempolicy"),
    plain(SYS_get_mempolicy, "get_mempolicy", {fixed(0, 4), bits(1, 2)}),
    plain(SYS_mq_open, "mq_open"),
    plain(SYS_mq_unlink, "mq_unlink"),
    plain(SYS_mq_timedsend, "mq_timedsend"),
    plain(SYS_mq_timedreceive, "mq_timedreceive", {result(1), fixed(3, 4)}),
    plain(SYS_mq_notify, "mq_notify"),
    plain(SYS_mq_getsetattr, "mq_getsetattr", {fixed(2, 64)}),
    refused(SYS_kexec_load, "kexec_load", "another kernel"),
    plain(SYS_waitid, "waitid", {fixed(2, 128), fixed(4, 144)}),
    plain(SYS_add_key, "add_key"),
    plain(SYS_request_key, "request_key"),
    plain(SYS_keyctl, "keyctl", {argument(2, 3)}),
    plain(SYS_ioprio_set, "ioprio_set"),
    plain(SYS_ioprio_get, "ioprio_get"),
    plain(SYS_inotify_init, "inotify_init"),
    plain(SYS_inotify_add_watch, "inotify_add_watch"),
    plain(SYS_inotify_rm_watch, "inotify_rm_watch"),
    plain(SYS_migrate_pages, "migrate_pages"),
    plain(SYS_openat, "openat"),
    plain(SYS_mkdirat, "mkdirat"),
    plain(SYS_mknodat, "mknodat"),
    plain(SYS_fchownat, "fchownat"),
    plain(SYS_futimesat, "futimesat"),
    plain(SYS_newfstatat, "newfstatat", {fixed(2, 144)}),
    plain(SYS_unlinkat, "unlinkat"),
    plain(SYS_renameat, "renameat"),
    plain(SYS_linkat, "linkat"),
    plain(SYS_symlinkat, "symlinkat"),
    plain(SYS_readlinkat, "readlinkat", {result(2)}),
    plain(SYS_fchmodat, "fchmodat"),
    plain(SYS_faccessat, "faccessat"),
    plain(SYS_pselect6, "pselect6", {bits(1, 0), bits(2, 0), bits(3, 0), fixed(4, 16)}),
    plain(SYS_ppoll, "ppoll", {argument(0, 1, 8), fixed(2, 16)}),
    plain(SYS_unshare, "unshare"),
    plain(SYS_set_robust_list, "set_robust_list"),
    plain(SYS_get_robust_list, "get_robust_list", {fixed(1, 8), fixed(2, 8)}),
    plain(SYS_splice, "splice", {fixed(1, 8), fixed(3, 8)}),
    plain(SYS_tee, "tee"),
    plain(SYS_sync_file_range, "sync_file_range"),
    plain(SYS_vmsplice, "vmsplice", {vector(1, 2)}),
    plain(SYS_move_pages, "move_pages", {argument(4, 1, 4)}),
    plain(SYS_utimensat, "utimensat"),
    plain(SYS_epoll_pwait, "epoll_pwait", {result(1, 12)}),
    plain(SYS_signalfd, "signalfd"),
    plain(SYS_timerfd_create, "timerfd_create"),
    plain(SYS_eventfd, "eventfd"),
    plain(SYS_fallocate, "fallocate"),
    plain(SYS_timerfd_settime, "timerfd_settime", {fixed(3, 32)}),
    plain(SYS_timerfd_gettime, "timerfd_gettime", {fixed(1, 32)}),
    plain(SYS_accept4, "accept4", {pointed(1, 2)}),
    plain(SYS_signalfd4, "signalfd4"),
    plain(SYS_eventfd2, "eventfd2"),
    plain(SYS_epoll_create1, "epoll_create1"),
    plain(SYS_dup3, "dup3"),
    plain(SYS_pipe2, "pipe2", {fixed(0, 8)}),
    plain(SYS_inotify_init1, "inotify_init1"),
    plain(SYS_preadv, "preadv", {vector(1, 2)}),
    plain(SYS_pwritev, "pwritev"),
    plain(SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo"),
    plain(SYS_perf_event_open, "perf_event_open", {fixed(0, 128)}),
    plain(SYS_recvmmsg, "recvmmsg", {messages(1)}),
    plain(SYS_fanotify_init, "fanotify_init"),
    plain(SYS_fanotify_mark, "fanotify_mark"),
    plain(SYS_prlimit64, "prlimit64", {fixed(3, 16)}),
    plain(SYS_name_to_handle_at, "name_to_handle_at", {sized_header(2, 8), fixed(3, 8)}),
    plain(SYS_open_by_handle_at, "open_by_handle_at"),
    plain(SYS_clock_adjtime, "clock_adjtime", {fixed(1, 208)}),
    plain(SYS_syncfs, "syncfs"),
    plain(SYS_sendmmsg, "sendmmsg", {messages(1)}),
    plain(SYS_setns, "setns"),
    plain(SYS_getcpu, "getcpu", {fixed(0, 4), fixed(1, 4)}),
    plain(SYS_process_vm_readv, "process_vm_readv", {vector(1, 2)}),
    refused(SYS_process_vm_writev, "process_vm_writev", "memory written by address"),
    plain(SYS_kcmp, "kcmp"),
    refused(SYS_finit_module, "finit_module", "code of the kernel"),
    plain(SYS_sched_setattr, "sched_setattr", {fixed(1, 56)}),
    plain(SYS_sched_getattr, "sched_getattr", {argument(1, 2)}),
    plain(SYS_renameat2, "renameat2"),
    by_argument(SYS_seccomp, "seccomp", Special::seccomp, {fixed(2, 6)}),
    plain(SYS_getrandom, "getrandom", {result(0)}),
    plain(SYS_memfd_create, "memfd_create"),
    refused(SYS_kexec_file_load, "kexec_file_load", "another kernel"),
    refused(SYS_bpf, "bpf", "programs in the kernel"),
    refused(SYS_execveat, "execveat", "another program"),
    refused(SYS_userfaultfd, "userfaultfd", "it answers page faults itself"),
    plain(SYS_membarrier, "membarrier"),
    plain(SYS_mlock2, "mlock2"),
    plain(SYS_copy_file_range, "copy_file_range", {fixed(1, 8), fixed(3, 8)}),
    plain(SYS_preadv2, "preadv2", {vector(1, 2)}),
    plain(SYS_pwritev2, "pwritev2"),
    memory(SYS_pkey_mprotect, "pkey_mprotect", Special::mprotect),
    plain(SYS_pkey_alloc, "pkey_alloc"),
    plain(SYS_pkey_free, "pkey_free"),
    plain(SYS_statx, "statx", {fixed(4, 256)}),
    refused(SYS_io_pgetevents, "io_pgetevents", "kernel AIO"),
    absent(SYS_rseq, "rseq"),
    refused(335, "uretprobe", "probes of the kernel"),
    refused(336, "uprobe", "probes of the kernel"),
    plain(SYS_pidfd_send_signal, "pidfd_send_signal"),
    refused(SYS_io_uring_setup, "io_uring_setup", "io_uring"),
    refused(SYS_io_uring_enter, "io_uring_enter", "io_uring"),
    refused(SYS_io_uring_register, "io_uring_register", "io_uring"),
    plain(SYS_open_tree, "open_tree"),
    plain(SYS_move_mount, "move_mount"),
    plain(SYS_fsopen, "fsopen"),
    plain(SYS_fsconfig, "fsconfig"),
    plain(SYS_fsmount, "fsmount"),
    plain(SYS_fspick, "fspick"),
    plain(SYS_pidfd_open, "pidfd_open"),
    create(SYS_clone3, "clone3", Special::clone3),
    plain(SYS_close_range, "close_range"),
    plain(SYS_openat2, "openat2"),
    plain(SYS_pidfd_getfd, "pidfd_getfd"),
    plain(SYS_faccessat2, "faccessat2"),
    refused(SYS_process_madvise, "process_madvise", "memory of other processes"),
    plain(SYS_epoll_pwait2, "epoll_pwait2", {result(1, 12)}),
    plain(SYS_mount_setattr, "mount_setattr"),
    refused(SYS_quotactl_fd, "quotactl_fd", "its output is not known"),
    plain(SYS_landlock_create_ruleset, "landlock_create_ruleset"),
    plain(SYS_landlock_add_rule, "landlock_add_rule"),
    plain(SYS_landlock_restrict_self, "landlock_restrict_self"),
    plain(SYS_memfd_secret, "memfd_secret"),
    plain(SYS_process_mrelease, "process_mrelease"),
    plain(SYS_futex_waitv, "futex_waitv"),
    plain(SYS_set_mempolicy_home_node, "set_mempolicy_home_node"),
    plain(451, "cachestat", {fixed(2, 40)}),
    plain(452, "fchmodat2"),
    refused(453, "map_shadow_stack", "shadow stacks"),
    plain(454, "futex_wake"),
    plain(455, "futex_wait", {fixed(0, 4)}),
    plain(456, "futex_requeue"),
    plain(457, "statmount", {argument(1, 2)}),
    plain(458, "listmount", {argument(1, 2, 8)}),
    plain(459, "lsm_get_self_attr", {pointed(1, 2)}),
    plain(460, "lsm_set_self_attr"),
    plain(461, "lsm_list_modules", {pointed(0, 1)}),
    plain(462, "mseal"),
    plain(463, "setxattrat"),
    refused(464, "getxattrat", "its output is not known"),
    plain(465, "listxattrat", {result(3)}),
    plain(466, "removexattrat"),
    plain(467, "open_tree_attr"),
    plain(468, "file_getattr", {argument(2, 3)}),
    plain(469, "file_setattr"),
});

static_assert(std::is_sorted(kRules.begin(), kRules.end(),
                             [](const SyscallRule& a, const SyscallRule& b) {
                               return a.number < b.number;
                             }));

}  // namespace

std::span<const SyscallRule> syscall_rules() { return kRules; }

const SyscallRule* syscall_rule(Word number) {
  const auto* found = std::lower_bound(
      kRules.begin(), kRules.end(), number,
      [](const SyscallRule& rule, Word wanted) { return static_cast<Word>(rule.number) < wanted; });
  return found != kRules.end() && static_cast<Word>(found->number) == number ? found : nullptr;
}

MemoryCalls memory_calls() {
  return {SYS_mmap, SYS_munmap, SYS_mprotect, SYS_brk, SYS_mremap, SYS_madvise};
}

int clone_call() { return SYS_clone; }

}  // namespace ckpt::arch
