#include "replayer/position_jump.hpp"

#include <sys/mman.h>

#include <csignal>

#include "proc/process_dir.hpp"
#include "recording/memory_digest.hpp"

namespace ckpt::replayer {

namespace {

constexpr std::size_t kCodeLookedAt = 40;  // bytes from the program counter on

// An address near `from` at which nothing is mapped, nor in the window of digests around it; 0 if
// there is none.
Addr free_window(Tid pid, Addr from) {
  constexpr std::uint64_t kNear = 1ULL << 30U;
  constexpr std::uint64_t kNeeded = 2 * recording::kWindowBytes;
  Addr end{};
  for (const auto& mapping : proc::ProcessDir(pid).mappings()) {
    const Addr window{(end.value / recording::kWindowBytes + 1) * recording::kWindowBytes};
    const bool is_near = (window > from ? window - from : from - window) < kNear;
    if (is_near && mapping.start > end && mapping.start > window + kNeeded) return window;
    end = mapping.end;
  }
  return {};
}

std::vector<std::byte> code_from(const Task& task, Addr at) {
  std::vector<std::byte> code(kCodeLookedAt);
  task.memory().read_some(at, code);
  return code;
}

}  // namespace

std::optional<std::size_t> PositionJump::room(const Task& task, Addr at) {
  return arch::room_for_stub(code_from(task, at));
}

std::optional<PositionJump> PositionJump::put(const Task& task, const arch::Registers& wanted) {
  const Addr from = wanted.pc();
  const auto code = code_from(task, from);
  PositionJump jump(task, from, free_window(task.pid(), from));
  const bool done = jump.install(code, arch::position_stub(code, from, jump.stub_, wanted));
  return done ? std::optional(std::move(jump)) : std::nullopt;
}

std::optional<PositionJump> PositionJump::put_counter(const Task& task, Addr at,
                                                      std::uint64_t passes) {
  const auto code = code_from(task, at);
  PositionJump jump(task, at, free_window(task.pid(), at));
  const bool done = jump.install(code, arch::counting_stub(code, at, jump.stub_, passes));
  return done ? std::optional(std::move(jump)) : std::nullopt;
}

std::uint64_t PositionJump::passes_left() const {
  return task_->memory().read_value<std::uint64_t>(stub_ + arch::kStubKeptBytes);
}

bool PositionJump::install(std::span<const std::byte> code,
                           std::optional<arch::PositionStub> stub) {
  if (!stub_ || !stub) return false;
  code_ = std::move(*stub);
  original_.assign(code.begin(), code.begin() + code_.jump.size());
  if (!map()) return false;
  task_->memory().write(stub_, code_.bytes);
  put_back();
  return true;
}

bool PositionJump::map() const {
  constexpr std::uint64_t kProtection = PROT_READ | PROT_WRITE | PROT_EXEC;
  constexpr std::uint64_t kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
  return task_->call(arch::memory_calls().mmap, {stub_.value, page_up(code_.bytes.size()),
                                                 kProtection, kFlags, ~0ULL, 0}) >= 0;
}

bool PositionJump::remove() const {
  take_out();
  return task_->call(arch::memory_calls().munmap, {stub_.value, page_up(code_.bytes.size())}) == 0;
}

void PositionJump::take_out() const { task_->memory().write(from_, original_); }

void PositionJump::put_back() const { task_->memory().write(from_, code_.jump); }

bool PositionJump::leads_to(Addr at) const {
  return at >= stub_ && at < stub_ + code_.bytes.size();
}

std::optional<Addr> PositionJump::original_of(Addr at) const {
  for (const auto& place : code_.moved)
    if (stub_ + place.moved == at) return from_ + place.original;
  return std::nullopt;
}

std::optional<arch::Registers> PositionJump::hit(const arch::Registers& now) const {
  if (now.pc() != code_.behind_hit) return std::nullopt;
  std::array<std::byte, arch::kStubKeptBytes> kept{};
  task_->memory().read(stub_, kept);
  return arch::registers_at_position(now, kept, from_);
}

bool step_out_of(const Task& task, Addr start, Addr end) {
  for (Addr pc = task.registers().pc(); pc > start && pc < end; pc = task.registers().pc()) {
    const Stop stop = task.step();
    if (stop.kind != Stop::Kind::signal || stop.signal != SIGTRAP) return false;
  }
  return true;
}

}  // namespace ckpt::replayer
