#include "snapshot/capture.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/procfs.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/io.hpp"
#include "base/long_work.hpp"
#include "image/writer.hpp"
#include "proc/text.hpp"
#include "snapshot/ids.hpp"
#include "snapshot/kernel_pages.hpp"
#include "snapshot/machine.hpp"
#include "snapshot/process_image.hpp"
#include "snapshot/record.hpp"
#include "state/memory/huge_notes.hpp"
#include "state/memory/sharers.hpp"
#include "state/rings/io_uring.hpp"
#include "state/surroundings/quiet_open.hpp"
#include "state/terminal/terminal.hpp"
#include "state/terminal/terminal_input.hpp"
#include "state/time/clocks.hpp"
#include "store/directory.hpp"
#include "store/links.hpp"
#include "store/listing.hpp"
#include "tracee/remote.hpp"

#ifndef NT_FILE
#define NT_FILE 0x46494c45
#endif

namespace ckpt::snapshot {

namespace {

using image::Json;
using state::CaptureContext;
using state::ThreadState;

constexpr std::uint64_t kScratchBytes = 64U << 10U;

bool stopped_under_us(const CaptureContext& context, Tid lwp) {
  const proc::Status status = context.process.status(lwp);
  return status.state == 't' && status.tracer == ::gettid();
}

ThreadState look_at_thread(const CaptureContext& context, Tid lwp) {
  ThreadState state = state::look(context, lwp);
  if (!state.registers.is_native())
    fail(ErrorKind::refused, "thread {}: it runs 32-bit code; only 64-bit programs can be saved",
         lwp);
  return state;
}

// Adds the threads that the caller does not know of: they would be missing after the restore. When
// GDB 15 or newer stops a program while one of its threads is in clone, it keeps that event for
// later. It has stopped the new thread, before its first instruction, but does not list it until
// the program goes on.
void add_newborn_threads(const CaptureContext& context, std::vector<ThreadState>& threads) {
  std::set<Tid> known;
  bool glibc = false;  // whose pthread_t is the address in fs
  for (const ThreadState& state : threads) {
    known.insert(state.lwp);
    glibc =
        glibc || (state.pthread != 0 && state.pthread == state.registers.thread_pointer().value);
  }
  for (const Tid lwp : context.process.threads()) {
    if (known.count(lwp) != 0) continue;
    if (context.process.is_kernel_worker(lwp)) continue;
    if (!stopped_under_us(context, lwp))
      fail(ErrorKind::refused, "thread {}: it is not stopped under this debugger", lwp);
    ThreadState state = look_at_thread(context, lwp);
    if (glibc) state.pthread = state.registers.thread_pointer().value;
    threads.push_back(std::move(state));
  }
}

std::vector<ThreadState> look_at_threads(const CaptureContext& context,
                                         const CaptureRequest& request) {
  std::vector<ThreadState> threads;
  for (const auto& wanted : request.threads) {
    if (context.process.is_kernel_worker(wanted.lwp)) continue;  // newer GDBs list it
    ThreadState state = look_at_thread(context, wanted.lwp);
    state.number = wanted.number;
    state.pthread = wanted.pthread;
    if (wanted.held_signal != 0 && state.stop_info &&
        state.stop_info->si_signo == wanted.held_signal)
      state.held_signal = wanted.held_signal;
    threads.push_back(std::move(state));
  }
  if (context.process.main_ended() && !threads.empty()) {
    const Addr instruction = tracee::find_syscall_instruction(context.mappings, context.memory);
    threads.push_back(state::ended_main_thread(context, threads.front(), instruction));
  }
  // The restore makes the process with its main thread, so that one comes first.
  std::stable_partition(threads.begin(), threads.end(), [&](const ThreadState& state) {
    return state.lwp == context.process.pid();
  });
  add_newborn_threads(context, threads);
  return threads;
}

// Swapped-out pages of shared memory look absent to mincore.
bool swap_in_use() {
  const auto text = try_read_file("/proc/swaps");
  return !text || std::count(text->begin(), text->end(), '\n') > 1;
}

using SharedContent = std::map<Addr, std::vector<proc::PageRun>>;

SharedContent find_shared_content(CaptureContext& context) {
  SharedContent content;
  const bool everything = swap_in_use();
  for (const auto& mapping : context.mappings) {
    if (!mapping.shared || !mapping.has_object()) continue;
    if (everything)
      content[mapping.start] = {{mapping.start, mapping.end}};
    else
      content[mapping.start] = state::shared_pages(context, mapping);
  }
  return content;
}

Addr current_break(CaptureContext& context) {
  return Addr{static_cast<std::uint64_t>(context.attempt(SYS_brk, {0}))};
}

// Timers run on while the process is stopped, and put their signals into the queues: what is queued
// and what has yet to expire must be of one moment.
void capture_timers_and_queues(CaptureContext& context, ProcessImage& captured) {
  constexpr int kMostTries = 100;  // timers that expire all the time are late whatever is done
  std::map<Tid, Tid> ids;
  for (const ThreadState& state : captured.threads) ids[state.lwp] = state.tid;
  std::vector<siginfo_t> queued;
  auto timers = state::capture_timers(context, ids);
  for (int i = 0; i < kMostTries; ++i) {
    captured.timers = std::move(timers);
    captured.signals.queued = queued =
        state::queued_signals(context, context.tid(), /* shared = */ true);
    for (ThreadState& state : captured.threads) {
      if (state.ended) continue;
      state.queued = state::queued_signals(context, state.lwp, false);
      queued.insert(queued.end(), state.queued.begin(), state.queued.end());
    }
    timers = state::capture_timers(context, ids);
    if (!state::expired_between(captured.timers, timers)) break;
  }
  state::report_timers(context, captured.timers, ids, queued);
}

// Everything that the program itself must be asked, in one go; afterwards it is as it was.
struct Answers {
  SharedContent shared;
  Addr brk;
  state::ClockState clocks_ahead;
  state::SysvObjects sysv;
};

Answers interrogate(CaptureContext& context, ProcessImage& captured,
                    const std::optional<unsigned long>& tracer_options) {
  const Addr instruction = tracee::find_syscall_instruction(context.mappings, context.memory);
  const Tid group = context.process.pid();
  const auto inner_ids = [&](const ThreadState& state) {
    const auto status = context.process.status(group);
    return tracee::RemoteThread::Ids{status.ns_pids.empty() ? group : status.ns_pids.back(),
                                     state.tid};
  };
  // Say no before the first thread is touched.
  for (const ThreadState& state : captured.threads)
    if (const auto reason = state.ended ? std::nullopt : tracee::why_no_calls(state.lwp))
      fail(ErrorKind::refused, "thread {}: the program cannot be saved here: {}", state.lwp,
           *reason);

  std::optional<unsigned long> suspend_filter;
  if (context.process.status().seccomp != 0) {
    if (!tracer_options)
      fail(ErrorKind::refused, "process {}: it runs under a seccomp filter", group);
    suspend_filter = tracer_options;
  }
  const auto go_on = [&context](Tid lwp) {
    return [&context, lwp](const tracee::Registers& registers, std::uint64_t mask) {
      return state::going_on(context, lwp, registers, mask);
    };
  };
  Answers answers;
  const std::size_t first_index = captured.threads.front().ended ? 1 : 0;
  ThreadState& first = captured.threads.at(first_index);
  tracee::RemoteThread main(group, first.lwp, inner_ids(first), context.memory, instruction,
                            suspend_filter, go_on(first.lwp));
  const tracee::Scratch scratch = main.make_scratch(kScratchBytes);
  const tracee::Turn turn(context, main, scratch);
  try {
    fault_point("save-scratch");
    const auto ring_fds = state::find_rings(context.process);
    state::wait_for_rings(context, ring_fds, false);
    state::ask(context, first);
    const bool rings = state::has_rings(context.mappings, ring_fds);
    if (rings) state::ask_ring_numbers(context, first.tid, captured.ring_numbers);
    if (main.has_queued_signal()) first.held_signal = 0;  // its queue is looked at later
    for (std::size_t i = first_index + 1; i < captured.threads.size(); ++i) {
      ThreadState& state = captured.threads[i];
      tracee::RemoteThread thread(group, state.lwp, inner_ids(state), context.memory, instruction,
                                  suspend_filter, go_on(state.lwp));
      try {
        const tracee::Turn own_turn(context, thread);
        state::ask(context, state);
        if (rings) state::ask_ring_numbers(context, state.tid, captured.ring_numbers);
      } catch (...) {
        thread.undo();
      }
      thread.restore();
      if (thread.has_queued_signal()) state.held_signal = 0;
    }
    fault_point("save-threads");
    state::wait_for_rings(context, ring_fds, true);
    captured.signals = state::capture_signals(context);
    captured.process = state::capture_process(context);
    captured.children = state::capture_children(context, captured.signals);
    answers.sysv = state::capture_sysv_objects(context);
    answers.clocks_ahead = state::ask_clocks_ahead(context);
    captured.had_own_clocks = state::has_own_clocks(context.process);
    capture_timers_and_queues(context, captured);
    state::report_process(context);
    answers.shared = find_shared_content(context);
    answers.brk = current_break(context);
    fault_point("save-process");
  } catch (...) {
    main.undo(&scratch);
  }
  main.drop_scratch(scratch);
  main.restore();
  return answers;
}

state::KeptFile keep_program(CaptureContext& context) {
  const UniqueFd exe = context.process.open("exe", O_RDONLY);
  struct stat status {};
  if (::fstat(exe.get(), &status) != 0) throw_errno("stat the executable", errno);
  const auto [path, deleted] = state::name_of(status, context.process.link("exe").value_or(""));
  state::KeptFile file = state::describe_file(status, path, deleted);
  file.object = context.objects.keep(exe.get(), path, true);
  return file;
}

template <typename T>
void append(std::vector<std::byte>& out, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_text(std::vector<std::byte>& out, const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text.c_str(), text.size() + 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// NT_FILE names the store's copies: a debugger that opens the snapshot takes what is not in it from
// the files named here, and the originals may be other files by then.
image::Note file_note(const CaptureContext& context, const state::AddressSpace& space) {
  image::Note note{"CORE", NT_FILE, {}};
  std::vector<const state::Region*> named;
  for (const auto& region : space.regions)
    if (region.file) named.push_back(&region);
  append(note.content, std::uint64_t{named.size()});
  append(note.content, std::uint64_t{kPageSize});
  for (const auto* region : named) {
    append(note.content, region->mapping.start.value);
    append(note.content, region->mapping.end.value);
    append(note.content, region->mapping.offset_bytes / kPageSize);
  }
  for (const auto* region : named) {
    std::optional<std::string> copy;
    if (region->file->object) copy = context.objects.find(*region->file->object);
    append_text(note.content, copy.value_or(region->file->path));
  }
  return note;
}

image::Note process_note(const CaptureContext& context, const ProcessImage& captured) {
  elf_prpsinfo info{};
  info.pr_sname = 't';
  info.pr_pid = captured.process.pid;
  info.pr_ppid = captured.process.parent;
  info.pr_pgrp = captured.process.group;
  info.pr_sid = captured.process.session;
  info.pr_uid = captured.process.uid;
  info.pr_gid = captured.process.gid;
  context.process.stat().comm.copy(info.pr_fname, sizeof info.pr_fname - 1);
  std::string line;
  for (const auto& argument : captured.program.arguments)
    line += (line.empty() ? "" : " ") + argument;
  line.copy(info.pr_psargs, sizeof info.pr_psargs - 1);
  image::Note note{"CORE", NT_PRPSINFO, {}};
  append(note.content, info);
  return note;
}

std::vector<image::Note> make_notes(const CaptureContext& context, const ProcessImage& captured,
                                    Tid selected_lwp) {
  std::vector<const ThreadState*> order;
  for (const auto& thread : captured.threads)
    if (!thread.ended) order.push_back(&thread);
  // Tools take the first thread as the current one.
  std::stable_partition(order.begin(), order.end(),
                        [&](const ThreadState* thread) { return thread->lwp == selected_lwp; });
  std::vector<image::Note> notes;
  for (const auto* thread : order) {
    auto some = state::thread_notes(*thread, captured.process.pid);
    notes.push_back(std::move(some.front()));
    if (thread == order.front()) {
      notes.push_back(process_note(context, captured));
      image::Note auxv{"CORE", NT_AUXV, captured.space.auxv};
      notes.push_back(std::move(auxv));
      notes.push_back(file_note(context, captured.space));
    }
    for (std::size_t i = 1; i < some.size(); ++i) notes.push_back(std::move(some[i]));
  }
  return notes;
}

std::vector<StoredObject> list_objects(const ProcessImage& captured, const SharedObjects& shared) {
  std::vector<StoredObject> list;
  std::set<std::string> seen;
  const auto add = [&](const state::KeptFile& file) {
    if (file.object && seen.insert(file.object->hash + file.object->name).second)
      list.push_back({*file.object, file.path});
  };
  add(captured.program);
  for (const auto& region : captured.space.regions)
    if (region.file) add(*region.file);
  for (const auto& description : shared.descriptions)
    if (description.file) add(*description.file);
  return list;
}

Record make_record(const CaptureRequest& request, const CaptureContext& context,
                   SharedObjects shared, ProcessImage captured) {
  Record record;
  record.creator = image::kCreator;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  record.created = std::chrono::duration<double>(now).count();
  record.name = request.name;
  record.message = request.message;
  record.stop = request.stop;
  record.place = request.place;
  record.parent = request.parent;
  record.store = context.objects.directory();
  record.host = this_machine();
  record.selected = {captured.threads.front().tid, request.selected_frame};
  for (const auto& thread : captured.threads)
    if (thread.lwp == request.selected_lwp) record.selected.tid = thread.tid;
  record.terminal = request.terminal;
  record.terminal_size = state::read_terminal_size(context.process);
  record.fidelity = context.report.sorted();
  record.session = request.session;
  record.objects = list_objects(captured, shared);
  record.shared = std::move(shared);
  record.processes.push_back(std::move(captured));
  return record;
}

void refuse_losses(std::vector<state::Finding> findings) {
  std::erase_if(findings, [](const state::Finding& finding) {
    return finding.severity == state::Severity::note;
  });
  if (findings.empty()) return;
  const auto& worst = findings.front();
  fail(ErrorKind::refused, "not everything would come back as it was: {}: {}: {}: {}{}",
       state::severity_name(worst.severity), worst.object, worst.kind, worst.text,
       findings.size() == 1 ? ""
                            : fmt::format(" (and {} more; a save that is not strict lists them)",
                                          findings.size() - 1));
}

/// The snapshot elsewhere that the new one takes its name from, if any: the store forgets that one,
/// and the file, which is the user's, stays.
std::string replaced_elsewhere(const CaptureContext& context, const CaptureRequest& request) {
  const std::string& root = context.objects.directory();
  if (!request.overwrite || !store::Layout{root}.holds(request.output)) return "";
  const auto found = store::find(root, std::filesystem::path(request.output).stem());
  return found && found->external ? found->path : "";
}

CaptureResult capture_in(CaptureContext& context, const CaptureRequest& request) {
  const auto begin = std::chrono::steady_clock::now();
  ProcessImage captured;
  SharedObjects shared;
  const auto boundary = hide_boundary(context);
  const auto proxy = hide_vdso_proxy(context, context.mappings);
  captured.threads = look_at_threads(context, request);
  const Answers answers = interrogate(context, captured, request.tracer_options);
  shared.sysv = answers.sysv;
  look_beyond_vdso(context, context.mappings, proxy, captured.signals, captured.threads);
  return_to_library(context, boundary, captured.signals, captured.threads);
  for (const auto& thread : captured.threads)
    if (!thread.ended && thread.filters.empty() && context.process.status(thread.lwp).seccomp != 0)
      context.report.add(state::Severity::changed, fmt::format("thread {}", thread.tid), "seccomp",
                         "its seccomp filter cannot be read: it comes back without it");
  for (auto& thread : captured.threads)
    if (!state::find_restarted_call(context.memory, thread))
      context.report.add(state::Severity::changed, fmt::format("thread {}", thread.tid), "call",
                         "it waits in a system call that was stopped before, and which one that "
                         "was is not known: it fails with EINTR");
  fault_point("save-files");
  auto open = state::capture_descriptors(context);
  captured.descriptors = std::move(open.descriptors);
  shared.descriptions = std::move(open.descriptions);
  const state::DescriptorTable table{captured.descriptors, shared.descriptions};
  state::settle_ring_numbers(context, table, captured.ring_numbers);
  const auto own_terminal = state::own_terminal(context.process, table);
  if (own_terminal) {
    captured.process.own_session = true;
    captured.process.own_terminal = *own_terminal;
  } else {
    shared.terminal_input =
        state::capture_input(context, state::open_terminal(context.process), request.input);
  }
  captured.clocks = state::clocks_by_now(answers.clocks_ahead);
  captured.aio = state::capture_aio(context);
  static_cast<state::KeptFile&>(captured.program) = keep_program(context);
  captured.program.arguments = context.process.strings("cmdline");
  captured.program.environment = context.process.strings("environ");
  captured.space = state::examine(
      context,
      [&](const proc::Mapping& mapping) {
        const auto found = answers.shared.find(mapping.start);
        return found == answers.shared.end()
                   ? std::vector<proc::PageRun>{{mapping.start, mapping.end}}
                   : found->second;
      },
      answers.brk, shared.memory);
  state::note_memory_policies(context, captured.space,
                              captured.threads.front().attributes.memory_policy);
  captured.space.vdso_kernel = proxy ? proxy->kernel : kernel_release();
  if (proxy) state::return_kernel_pages(captured.space, *proxy);
  state::note_huge_pages(context.report, table, captured.space);
  state::report_sharers(context, table, captured.space);
  note_ids(context, captured.program, captured.space, boundary, captured.signals, captured.threads,
           captured.process, captured.children);
  state::queue_ends(captured.signals, captured.children, captured.threads.front().signal_mask);

  if (request.strict) refuse_losses(context.report.sorted());

  auto segments = state::plan_segments(captured.space);
  image::Writer writer(request.output, request.overwrite, segments);
  const auto extents = state::write_pages(captured.space, context, writer, segments);
  fault_point("save-record");
  const auto notes = make_notes(context, captured, request.selected_lwp);
  CaptureResult result;
  result.path = request.output;
  result.threads = captured.threads.size();
  Record record = make_record(request, context, std::move(shared), std::move(captured));
  record.extents = {image::pack_extents(extents)};
  const auto finish = [&] {
    Json written = image::encode(record);
    writer.finish(notes, written);
    return written;
  };
  if (const auto reason = why_not_restorable(writer.read_back(finish()))) {
    context.report.add(state::Severity::lost, "snapshot", "restore",
                       fmt::format("it cannot be restored: {}", *reason));
    if (request.strict) refuse_losses(context.report.sorted());
    record.fidelity = context.report.sorted();
    finish();
  }
  result.fidelity = context.report.sorted();
  // Before there is the file: what fails now leaves a link that leads nowhere, which is not listed.
  if (!store::Layout{context.objects.directory()}.holds(request.output))
    context.objects.add_external(request.output);
  const auto replaced = replaced_elsewhere(context, request);
  result.file_bytes = writer.publish();
  if (!replaced.empty()) store::remove_links(context.objects.directory(), replaced);
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return result;
}

CaptureResult capture_or_undo(const CaptureRequest& request) {
  if (request.threads.empty()) fail(ErrorKind::usage, "no threads to save");
  if (!request.overwrite && ::access(request.output.c_str(), F_OK) == 0)
    fail(ErrorKind::exists, "{} exists already", request.output);
  const proc::ProcessDir process(request.pid);
  state::refuse_impossible(process);

  CaptureContext context(request.pid, store::Objects::open_or_create(request.store));
  UniqueFd store = context.objects.hold();
  context.file_limit_bytes = request.file_limit_bytes;
  context.progress = request.progress;
  const WatchedWork watched(request.progress);
  context.read_code = request.read_code;
  for (const auto& [severity, object, kind, text] : request.findings)
    context.report.add(severity, object, kind, text);
  try {
    return capture_in(context, request);
  } catch (...) {
    context.objects.take_back(std::move(store));
    throw;
  }
}

}  // namespace

CaptureResult capture(const CaptureRequest& request) {
  fault_point("save-begin");
  try {
    return capture_or_undo(request);
  } catch (const Error& error) {
    if (error.error_number() != ENOSPC && error.error_number() != EDQUOT) throw;
    throw Error(error.kind(),
                fmt::format("{}: make room there, or choose another place for the snapshot and its "
                            "store",
                            error.what()),
                error.error_number());
  }
}

unsigned long debugger_options(bool attached) {
  // Since GDB 7.6 or so; what a started program dies with, an attached one survives.
  return PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
         PTRACE_O_TRACEEXEC | PTRACE_O_TRACEVFORKDONE | (attached ? 0 : PTRACE_O_EXITKILL);
}

void undo_needless_interruptions(Tid pid, const std::vector<Tid>& threads) {
  const proc::ProcessDir process(pid);
  for (const Tid lwp : threads) {
    ThreadState state;
    state.registers = tracee::get_registers(lwp);
    const auto before = state.registers.syscall_result();
    state::prepare_restart(state, false, true);
    if (state.registers.syscall_result() == before) continue;
    const proc::Status status = process.status(lwp);
    if (((status.pending | status.shared_pending) & ~status.blocked) != 0) continue;
    // At a signal's own delivery stop the signal is no longer pending, and is about to be handled.
    const auto info = tracee::get_siginfo(lwp);
    const bool at_signal = info && info->si_code <= 0xff && info->si_signo != SIGSTOP;
    if (!at_signal) tracee::set_registers(lwp, state.registers);
  }
}

}  // namespace ckpt::snapshot
