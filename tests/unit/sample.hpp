// A record as a save writes it, of a made-up process.
#pragma once

#include <csignal>
#include <cstddef>
#include <vector>

#include <nlohmann/json.hpp>

#include "image/format.hpp"
#include "state/descriptors/descriptors.hpp"
#include "state/descriptors/epoll.hpp"
#include "state/descriptors/event_files.hpp"
#include "state/descriptors/fanotify.hpp"
#include "state/descriptors/inotify.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/descriptors/pipes.hpp"
#include "state/files/kept_file.hpp"
#include "state/ipc/sysv_ipc.hpp"
#include "state/memory/address_space.hpp"
#include "state/process/children.hpp"
#include "state/process/process.hpp"
#include "state/process/signals.hpp"
#include "state/process/threads.hpp"
#include "state/report.hpp"
#include "state/sockets/sockets.hpp"
#include "state/time/clocks.hpp"
#include "state/time/timers.hpp"

namespace ckpt::test {

inline state::KeptFile sample_file(const std::string& path) {
  state::KeptFile file;
  file.path = path;
  file.device = 0xfe00;
  file.inode = 4711;
  file.size_bytes = 100'000;
  file.mtime_ns = 1'700'000'000'123'456'789;
  file.ctime_ns = 1'700'000'000'987'654'321;
  file.mode = 0640;
  file.uid = 1000;
  file.gid = 100;
  file.attributes =
      state::FileAttributes{1'600'000'000'000'000'000, 2, 0x40, {{"user.note", "a \xff"}}};
  file.object = store::ObjectRef{"0123456789abcdef0123456789abcdef", 100'000, "server"};
  return file;
}

inline state::ThreadState sample_thread(Tid tid, int number) {
  state::ThreadState thread;
  thread.tid = tid;
  thread.remembered = tid + 2000;
  thread.lwp = tid + 1000;
  thread.number = number;
  thread.pthread = 0x7ffff7d8a740;
  thread.name = "worker \xff";  // names are bytes to the kernel
  thread.registers.rip = 0x401136;
  thread.registers.rsp = 0x7fffffffe000;
  thread.registers.orig_rax = ~0ULL;
  thread.xstate.resize(832);
  thread.signal_mask = 0x10000;
  siginfo_t info{};
  info.si_signo = SIGSEGV;
  info.si_code = SEGV_MAPERR;
  thread.stop_info = info;
  thread.held_signal = SIGSEGV;
  info.si_signo = SIGUSR1;
  thread.queued.push_back(info);
  thread.alternate_stack.ss_size = 8192;
  thread.rseq = state::Rseq{{Addr{0x7ffff7d8ad60}, 32, 0x53053053, 0}, 0};
  thread.tid_address = Addr{0x7ffff7d8aa10};
  thread.robust_list = {Addr{0x7ffff7d8aa20}, 24};
  return thread;
}

inline state::AddressSpace sample_space() {
  state::AddressSpace space;
  const auto add = [&](std::uint64_t start, std::uint64_t pages, state::Backing backing,
                       const std::string& path) -> state::Region& {
    state::Region region;
    region.mapping.start = Addr{start};
    region.mapping.end = region.mapping.start + pages * kPageSize;
    region.mapping.read = true;
    region.mapping.path = path;
    region.mapping.flags = {"rd", "mr", "mw", "me"};
    region.backing = backing;
    space.regions.push_back(region);
    return space.regions.back();
  };
  add(0x400000, 4, state::Backing::private_file, "/usr/bin/server").file =
      sample_file("/usr/bin/server");
  auto& heap = add(0x500000, 33, state::Backing::anonymous, "[heap]");
  heap.guards = {{heap.mapping.start, heap.mapping.start + kPageSize}};
  add(0x7ffff7000000, 1, state::Backing::shared_file, "/var/data").file = sample_file("/var/data");
  add(0x7ffff7100000, 1, state::Backing::shared_anonymous, "/dev/zero").shared = 0;
  add(0x7ffff7fc9000, 4, state::Backing::kernel, "[vvar]");
  add(0x7ffff7fcd000, 2, state::Backing::kernel, "[vdso]");
  space.bounds.start_code = Addr{0x400000};
  space.bounds.brk = Addr{0x521000};
  space.auxv.resize(320);
  return space;
}

inline state::CapturedDescriptors sample_descriptors() {
  state::CapturedDescriptors table;
  state::Description terminal;
  terminal.kind = &state::kinds::kTerminal;
  terminal.path = "/dev/pts/1";
  state::Description file;
  file.kind = &state::kinds::kFile;
  file.path = "/var/log/server";
  file.file = sample_file(file.path);
  file.offset_bytes = 77;
  state::Description pipe;
  pipe.kind = &state::kinds::kPipe;
  pipe.details = state::Pipe{5, 65536, true, 12, 0620, true, true, {"in the pipe"}};
  state::Description event;
  event.kind = &state::kinds::kEventfd;
  event.details = state::EventFd{3, true};
  event.owner = {1, 4242, 10};
  state::Description watched;
  watched.kind = &state::kinds::kEpoll;
  watched.details = state::Epoll{{{6, 1, 7, 3}}, true};
  state::Description inotify;
  inotify.kind = &state::kinds::kInotify;
  inotify.details =
      state::Inotify{{{1, 2, {"/etc", 77, 2049}}, {3, 2, {"/x (deleted)", 78, 2049, 5}}}};
  state::Description connection;
  connection.kind = &state::kinds::kSocket;
  state::Socket socket;
  socket.id = 99;
  socket.domain = 1;
  socket.type = 1;
  socket.role = state::SocketRole::dead;
  socket.over = true;
  socket.error = 104;
  socket.interface = "eth0";
  socket.path_owner = 1000;
  socket.path_group = 100;
  socket.place = "/run/renamed";
  socket.free_name = true;
  socket.no_file = true;
  socket.options = {{1, 9, std::string(4, '\1')}};
  socket.queue = {{"waiting", "", {1}}};
  connection.details = socket;
  state::Description timer;
  timer.kind = &state::kinds::kTimerfd;
  timer.details = state::TimerFd{1, 0, 2, {1, 5}, {2, 0}, {0, 0}};
  state::Description removed;
  removed.kind = &state::kinds::kRemovedDirectory;
  removed.path = "/srv (deleted)";
  removed.details = state::RemovedEntry{2049, 11, S_IFDIR | 0750, 0, 0, 0, ""};
  state::Description group;
  group.kind = &state::kinds::kFanotify;
  group.details = state::Fanotify{16, 32770, {{16, 64, 32, 2, {"/srv", 0, 0}}}};
  file.locks = {{state::FileLock::Kind::posix, true, 5, 10}};
  table.descriptions = {terminal, file,       pipe,  event,   watched,
                        inotify,  connection, timer, removed, group};
  table.descriptors = {{0, false, 0},  {1, false, 0},  {3, true, 1},  {5, false, 2},
                       {6, false, 3},  {7, false, 4},  {8, true, 5},  {9, false, 6},
                       {10, false, 7}, {11, false, 8}, {12, false, 9}};
  return table;
}

inline image::Json sample_record() {
  using image::Json;
  state::ProcessState process;
  process.pid = 4242;
  process.directory = "/srv (deleted)";
  process.removed_directory = state::RemovedEntry{2049, 11, S_IFDIR | 0750, 0, 0, 0, ""};
  process.root = "/";
  process.limits.assign(16, {1024, 4096});
  const std::vector<state::EndedChild> children = {{77, 78, 77, CLD_EXITED, 3, SIGCHLD, 0},
                                                   {79, 79, 0, CLD_KILLED, SIGKILL, 0, 1000}};
  const state::SysvObjects sysv = {{{5, 0x1234, 0600, {1, 0, 65535}}},
                                   {{6, 0, 0666, 16384, {{3, std::string("a\0b", 3)}, {1, ""}}}}};
  state::TimerState timers;
  timers.interval[ITIMER_PROF] = {{3, 4}, {5, 999'999}};
  timers.posix.push_back({0, CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGALRM, 7, 0, {{1, 2}, {3, 4}}});
  timers.posix.push_back({5, -2, SIGEV_THREAD_ID, 40, ~0ULL, 4245, {}});
  state::SignalState signals;
  signals.actions.resize(64);
  siginfo_t info{};
  info.si_signo = SIGRTMIN;
  signals.queued.push_back(info);
  state::Report report;
  report.add(state::Severity::lost, "fd 5", "socket", "It comes back closed.");
  Json process_json = image::encode(process);
  Json program = image::encode(sample_file("/usr/bin/server"));
  program["argv"] = {"server", "-x"};
  program["environ"] = {"HOME=/root"};
  const auto open = sample_descriptors();
  const Json image = {
      {"program", program},
      {"process", process_json},
      {"threads", {image::encode(sample_thread(4242, 1)), image::encode(sample_thread(4245, 3))}},
      {"memory", image::encode(sample_space())},
      {"descriptors", image::encode(open.descriptors)},
      {"signals", image::encode(signals)},
      {"timers", image::encode(timers)},
      {"children", image::encode(children)},
      {"clocks", image::encode(state::ClockState{{5, 6}, {7, 999'999'999}})}};
  const Json shared = {{"descriptions", image::encode(open.descriptions)},
                       {"memory", image::encode(std::vector<state::SharedMemory>{{"0:1:77"}})},
                       {"sysv", image::encode(sysv)},
                       {"terminal_input", {104, 105, 0}}};
  return {
      {"format", 2},
      {"creator", "gdb-ckpt test"},
      {"created", 1.5e9},
      {"name", "before-crash"},
      {"message", "queue is corrupt"},
      {"stop", "main () at server.c:88"},
      {"store", "/nonexistent/store"},
      {"host", {{"kernel", "6.1"}, {"hostname", "h"}, {"boot_id", "b"}, {"cpu_flags", {"fpu"}}}},
      {"shared", shared},
      {"processes", Json::array({image})},
      {"selected", {{"tid", 4242}, {"frame", 2}}},
      {"terminal", nullptr},
      {"fidelity", image::encode(report.sorted())},
      {"session", Json::object()},
      {"objects", Json::array()},
      {"extents", Json::array({Json::binary({})})}};
}

}  // namespace ckpt::test
