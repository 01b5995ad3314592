#include "timeline/watches.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "arch/memory_accesses.hpp"
#include "arch/syscall_rules.hpp"
#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::timeline {

namespace {

std::uint64_t protection_of(const proc::Mapping& mapping) {
  return (mapping.read ? PROT_READ : 0U) | (mapping.write ? PROT_WRITE : 0U) |
         (mapping.exec ? PROT_EXEC : 0U);
}

bool overlaps(const Watch& watch, const arch::MemoryAccess& access) {
  return access.at < watch.at + watch.size_bytes && watch.at < access.at + access.size_bytes;
}

}  // namespace

Watches::Value Watches::value_of(const Watch& watch, const replayer::Task& task) {
  std::vector<std::byte> bytes(watch.size_bytes);
  bytes.resize(task.memory().read_some(watch.at, bytes));
  return bytes.empty() ? std::nullopt : Value(std::move(bytes));
}

void Watches::look(const replayer::Task& task) {
  for (auto& [watch, value] : all_) value = value_of(watch, task);
}

std::optional<Watch> Watches::find_change(const replayer::Task& task) {
  std::optional<Watch> changed;
  for (auto& [watch, value] : all_) {
    auto now = value_of(watch, task);
    // Memory that comes or goes as a whole was not written.
    const bool differs = now && value && now != value;
    value = std::move(now);
    if (differs && !changed && watch.kind != Watch::Kind::read) changed = watch;
  }
  return changed;
}

std::optional<Watch> Watches::find_access(const replayer::Task& task) const {
  constexpr std::size_t kLongest = 16;
  std::array<std::byte, kLongest> code{};
  const auto registers = task.registers();
  const std::size_t size = task.memory().read_some(registers.pc(), code);
  for (const auto& access : arch::memory_accesses(std::span(code).first(size), registers))
    for (const auto& [watch, _] : all_) {
      const bool counts =
          watch.kind == Watch::Kind::access || (watch.kind == Watch::Kind::read && access.reads);
      if (counts && overlaps(watch, access)) return watch;
    }
  return std::nullopt;
}

std::map<Addr, Watches::Page> Watches::find_pages(const replayer::Task& task) const {
  std::map<Addr, Page> pages;
  const auto mappings = proc::ProcessDir(task.pid()).mappings();
  for (const auto& [watch, _] : all_) {
    const Addr end = watch.at + watch.size_bytes;
    for (Addr page{page_down(watch.at.value)}; page < end; page = page + kPageSize) {
      const auto found = std::find_if(mappings.begin(), mappings.end(),
                                      [&](const proc::Mapping& one) { return one.contains(page); });
      if (found == mappings.end()) continue;
      const std::uint64_t own = protection_of(*found);
      Page& known = pages.try_emplace(page, Page{own, own}).first->second;
      known.guarded &= watch.kind == Watch::Kind::write ? ~std::uint64_t{PROT_WRITE} : 0;
    }
  }
  std::erase_if(pages, [](const auto& one) { return one.second.own == one.second.guarded; });
  return pages;
}

Watches::Guard::Guard(const replayer::Task& task, Watches& watches)
    : task_(task), watches_(watches) {
  if (!watches.pages_) watches.pages_ = watches.find_pages(task);
  protect(true);
}

Watches::Guard::~Guard() {
  try {
    protect(false);
  } catch (const Error&) {  // the task is gone
  }
}

void Watches::Guard::protect(bool guarded) const {
  for (const auto& [at, page] : *watches_.pages_) {
    const auto done = task_.call(arch::memory_calls().mprotect,
                                 {at.value, kPageSize, guarded ? page.guarded : page.own});
    if (done < 0) throw_errno("mprotect of what is watched", static_cast<int>(-done));
  }
}

bool Watches::Guard::has_caused(const replayer::Stop& stop) const {
  if (stop.kind != replayer::Stop::Kind::signal || stop.signal != SIGSEGV) return false;
  const auto info = tracee::get_siginfo(task_.pid());
  if (!info || info->si_code != SEGV_ACCERR) return false;
  const Addr at{page_down(reinterpret_cast<std::uint64_t>(info->si_addr))};
  return watches_.pages_->contains(at);
}

}  // namespace ckpt::timeline
