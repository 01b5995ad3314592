#include "snapshot/kernel_pages.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.hpp"
#include "base/io.hpp"
#include "snapshot/interrupted.hpp"
#include "tracee/stepping.hpp"

namespace ckpt::snapshot {

namespace {

using state::KernelPages;
using state::ThreadState;
using state::VdsoProxy;

KernelPages own_kernel_pages() {
  KernelPages own;
  for (const auto& mapping : proc::ProcessDir(::getpid()).mappings())
    if (mapping.is_kernel_special() && mapping.path != "[vsyscall]") own.pages.push_back(mapping);
  if (const auto* vdso = own.vdso_page()) {
    own.vdso.resize(vdso->size());
    // NOLINTNEXTLINE(performance-no-int-to-ptr): our own mapping
    std::memcpy(own.vdso.data(), reinterpret_cast<const void*>(vdso->start.value), vdso->size());
  }
  return own;
}

KernelPages saved_kernel_pages(const Snapshot& snapshot) {
  KernelPages saved;
  for (const auto& region : snapshot.saved.space.regions)
    if (region.backing == state::Backing::kernel) saved.pages.push_back(region.mapping);
  const auto* vdso = saved.vdso_page();
  if (vdso == nullptr) return saved;
  if (vdso->size() > (1U << 20U)) image::damaged("the size of the vdso");
  saved.vdso.resize(vdso->size());
  const image::Reader& reader = snapshot.reader;
  for (const auto& extent : reader.extents()) {
    if (extent.start < vdso->start || extent.start >= vdso->end) continue;
    const std::uint64_t at = extent.start - vdso->start;
    if (extent.size_bytes > saved.vdso.size() - at) image::damaged("the vdso");
    if (!pread_exact(reader.fd(), std::span(saved.vdso).subspan(at, extent.size_bytes),
                     extent.file_offset, reader.path()))
      image::damaged("the vdso");
  }
  return saved;
}

bool contains(const proc::PageRun& run, Addr at) { return at >= run.start && at < run.end; }

// The code of the vdso that a program knows, without what restores have put there.
std::vector<std::byte> known_vdso(const tracee::Memory& memory, const VdsoProxy& proxy) {
  std::vector<std::byte> bytes(proxy.vdso().size());
  memory.read(proxy.in_copy(proxy.vdso().start), bytes);
  return bytes;
}

// Lets the thread run on until it is out of `code`, looks where it is, and puts it back: its
// registers, and the part of its stack that it has left. What it has written for its caller it will
// write once more. That is so for functions that tell the time; `not_in` is one that moves on in a
// state of its own. Nothing if it does not come out, or only by a system call.
std::optional<tracee::Registers> look_outside(const tracee::Memory& memory, Tid tid,
                                              const std::vector<proc::PageRun>& code,
                                              const proc::PageRun& not_in, bool may_call) {
  constexpr int kMostSteps = 20'000;
  constexpr std::uint64_t kBelow = 2048;  // what is called there pushes
  constexpr std::size_t kStackBytes = 8192;
  const tracee::Registers before = tracee::get_registers(tid);
  std::vector<std::byte> stack(kStackBytes);
  const Addr low = before.sp() - kBelow;
  stack.resize(memory.read_some(low, stack));
  const auto is_inside = [&](const tracee::Registers& registers) {
    return std::any_of(code.begin(), code.end(),
                       [&](const auto& run) { return contains(run, registers.pc()); });
  };
  const auto go_on = [&](const tracee::Registers& registers) {
    if (!is_inside(registers) || contains(not_in, registers.pc())) return false;
    return may_call ||
           memory.read_value<arch::SyscallInstruction>(registers.pc()) != arch::kSyscallInstruction;
  };
  struct PutBack {
    Tid tid;
    const tracee::Registers& registers;
    ~PutBack() {
      try {
        tracee::set_registers(tid, registers);
      } catch (const Error&) {  // NOLINT(bugprone-empty-catch): the thread is gone
      }
    }
  };
  const PutBack put_back{tid, before};
  const bool stopped = tracee::step_while(tid, go_on, kMostSteps);
  const tracee::Registers outside = tracee::get_registers(tid);
  const std::uint64_t left =
      std::min<std::uint64_t>(outside.sp() > low ? outside.sp() - low : 0, stack.size());
  memory.write(low, std::span(stack).first(left));
  return stopped && !is_inside(outside) ? std::optional(outside) : std::nullopt;
}

}  // namespace

std::optional<VdsoProxy> find_vdso_proxy(const std::vector<proc::Mapping>& mappings,
                                         const tracee::Memory& memory) {
  std::vector<std::byte> page(kPageSize);
  for (const auto& map : mappings) {
    if (!map.exec || map.write || map.shared || map.has_object() || map.is_kernel_special())
      continue;
    const Addr last = map.end - kPageSize;
    if (memory.read_some(last, page) != page.size()) continue;
    auto proxy = state::read_vdso_proxy(page, last);
    if (proxy && proxy->copy.start >= map.start) return proxy;
  }
  return std::nullopt;
}

std::optional<VdsoProxy> hide_vdso_proxy(state::CaptureContext& context,
                                         const std::vector<proc::Mapping>& mappings) {
  auto proxy = find_vdso_proxy(mappings, context.memory);
  if (!proxy) return proxy;
  context.hidden.push_back(proxy->whole());
  for (const auto& map : mappings)
    if (map.is_kernel_special()) context.hidden.push_back({map.start, map.end});
  context.unpatched.emplace_back(proxy->vdso().start, known_vdso(context.memory, *proxy));
  return proxy;
}

void look_beyond_vdso(state::CaptureContext& context, const std::vector<proc::Mapping>& mappings,
                      const std::optional<VdsoProxy>& proxy, const state::SignalState& signals,
                      std::vector<ThreadState>& threads) {
  std::vector<proc::PageRun> code;
  std::optional<proc::PageRun> running;  // the running kernel's, where it is not the program's own
  std::vector<proc::PageRun> stacks;
  for (const auto& map : mappings) {
    if (map.path == "[vdso]") code.push_back({map.start, map.end});
    if (map.path == "[vdso]" && proxy) running = code.back();
    if (map.write) stacks.push_back({map.start, map.end});
  }
  const proc::PageRun known = proxy ? proxy->vdso() : code.empty() ? proc::PageRun{} : code.front();
  if (proxy) code.insert(code.end(), {proxy->vdso(), proxy->whole()});
  if (code.empty()) return;
  std::vector<std::byte> vdso(known.size());
  if (proxy)
    vdso = known_vdso(context.memory, *proxy);
  else
    context.memory.read(known.start, vdso);
  proc::PageRun random;
  std::vector<Addr> entries;
  for (const auto& function : state::vdso_functions(vdso)) {
    entries.push_back(known.start + function.offset);
    if (function.name == "__vdso_getrandom")
      random = {entries.back(), entries.back() + function.room_bytes};
  }
  for (ThreadState& thread : threads) {
    if (thread.ended) continue;
    const Addr pc = thread.registers.pc();
    const bool inside =
        std::any_of(code.begin(), code.end(), [&](const auto& run) { return contains(run, pc); });
    const auto is_lost = [&](Addr at) {
      return running &&
             (contains(*running, at) || contains({proxy->header, proxy->whole().end}, at));
    };
    const bool lost = is_lost(pc);
    if (inside && std::find(entries.begin(), entries.end(), pc) == entries.end()) {
      const auto status = context.process.status(thread.lwp);
      if (((status.ignored | status.pending | status.shared_pending) & tracee::forced_signals()) ==
          0)
        thread.beyond_vdso = look_outside(context.memory, thread.lwp, code, random, lost);
      if (proxy && contains(proxy->copy, pc))
        thread.registers.set_pc(proxy->from_copy(pc));
      else if (lost && thread.beyond_vdso)
        thread.registers = *std::exchange(thread.beyond_vdso, std::nullopt);
      else if (lost)
        fail(ErrorKind::refused,
             "thread {}: it does not leave the vdso of this kernel, which the one of Linux {} "
             "calls: "
             "save at another place",
             thread.lwp, proxy->kernel);
    }
    if (!proxy) continue;
    for (const auto& before : interrupted_places(thread, context.memory, signals, stacks)) {
      const Addr at = before.registers.pc();
      if (is_lost(at))
        fail(ErrorKind::refused,
             "thread {}: a signal handler has interrupted it in the vdso of this kernel, which the "
             "one of Linux {} calls: continue until the handler has returned",
             thread.lwp, proxy->kernel);
      if (!contains(proxy->copy, at)) continue;
      const std::uint64_t known_at = proxy->from_copy(at).value;
      const auto bytes = std::as_bytes(std::span(&known_at, 1));
      context.unpatched.emplace_back(before.place_of_pc(),
                                     std::vector<std::byte>(bytes.begin(), bytes.end()));
    }
  }
}

std::string vdso_kernel(const Snapshot& snapshot) {
  if (!snapshot.saved.space.vdso_kernel.empty()) return snapshot.saved.space.vdso_kernel;
  return snapshot.host.kernel;
}

bool needs_vdso_proxy(const Snapshot& snapshot) {
  const KernelPages saved = saved_kernel_pages(snapshot);
  // A program that has no vdso needs none.
  if (saved.vdso_page() == nullptr) return false;
  const KernelPages own = own_kernel_pages();
  if (state::same_kernel_pages(saved, own)) return false;
  const VdsoProxy proxy = state::plan_vdso_proxy(saved, vdso_kernel(snapshot), Addr{});
  static_cast<void>(state::plan_jumps(proxy, saved.vdso, own.vdso, Addr{}));
  return true;
}

ProxyInstaller::ProxyInstaller(const Snapshot& snapshot, const std::vector<proc::Mapping>& now)
    : snapshot_(snapshot), space_(state::with_own_kernel_pages(snapshot.saved.space)) {
  const KernelPages saved = saved_kernel_pages(snapshot);
  KernelPages fresh;
  for (const auto& map : now)
    if (map.is_kernel_special() && map.path != "[vsyscall]") fresh.pages.push_back(map);
  const std::uint64_t bytes = state::proxy_bytes(saved) + fresh.span().size();
  const Addr start = state::find_free_place(now, snapshot.saved.space, bytes);
  proxy_ = state::plan_vdso_proxy(saved, vdso_kernel(snapshot), start);
  saved_ = saved.vdso;
  const auto* vdso = fresh.vdso_page();
  const Addr own_at = vdso == nullptr ? Addr{} : parking() + (vdso->start - fresh.span().start);
  jumps_ = state::plan_jumps(proxy_, saved_, own_kernel_pages().vdso, own_at);
}

void ProxyInstaller::install(state::RestoreContext& inferior) const {
  inferior.call("mmap (vdso)", SYS_mmap,
                {proxy_.copy.start, proxy_.whole().size(), PROT_READ | PROT_EXEC,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0});
  inferior.memory.write(proxy_.in_copy(proxy_.vdso().start), saved_);
  inferior.memory.write(proxy_.header, state::proxy_page(proxy_));
  for (const auto& jump : jumps_)
    inferior.memory.write(proxy_.vdso().start + jump.offset, state::jump_code(jump.target));
  redirect_signal_frames(inferior);
}

void ProxyInstaller::redirect_signal_frames(state::RestoreContext& inferior) const {
  const tracee::Memory& memory = inferior.memory;
  const auto stacks = possible_stacks(snapshot_.saved.space);
  for (const auto& thread : snapshot_.saved.threads) {
    for (const auto& before : interrupted_places(thread, memory, snapshot_.saved.signals, stacks)) {
      const Addr pc = before.registers.pc();
      if (state::is_within_jump(proxy_, saved_, pc))
        memory.write_value(before.place_of_pc(), proxy_.in_copy(pc).value);
      else if (contains(proxy_.vdso(), pc))
        inferior.notes.push_back(fmt::format(
            "thread {}: a signal handler has interrupted it in the vdso of Linux {}: if it is "
            "reading a coarse clock there, it gets 0",
            thread.tid, proxy_.kernel));
    }
  }
}

void leave_vdso(ThreadState& thread, const std::optional<VdsoProxy>& proxy, bool other_clocks,
                const tracee::Memory& memory) {
  if (!proxy && !other_clocks) return;
  const Addr pc = thread.registers.pc();
  if (thread.beyond_vdso)
    thread.registers = *thread.beyond_vdso;
  else if (proxy && state::is_within_jump(*proxy, known_vdso(memory, *proxy), pc))
    thread.registers.set_pc(proxy->in_copy(pc));
}

}  // namespace ckpt::snapshot
