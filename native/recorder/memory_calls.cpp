// Calls that change what is mapped where. A replay makes them, too.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>

#include "base/error.hpp"
#include "proc/process_dir.hpp"
#include "recorder/session.hpp"
#include "recording/effects.hpp"

namespace ckpt::recorder {

namespace {

bool is_shared(std::uint64_t flags) { return (flags & MAP_SHARED) != 0; }
bool is_anonymous(std::uint64_t flags) { return (flags & MAP_ANONYMOUS) != 0; }

std::string descriptor_path(Tid pid, std::uint64_t fd) {
  return fmt::format("/proc/{}/fd/{}", pid, static_cast<int>(fd));
}

// The name of an open file, if it still leads to that file.
std::optional<std::string> lasting_name(Tid pid, std::uint64_t fd) {
  auto link = proc::ProcessDir(pid).link(fmt::format("fd/{}", static_cast<int>(fd)));
  struct stat open {};
  struct stat named {};
  if (!link || ::stat(descriptor_path(pid, fd).c_str(), &open) != 0 ||
      ::stat(link->c_str(), &named) != 0 || open.st_dev != named.st_dev ||
      open.st_ino != named.st_ino)
    return std::nullopt;
  return link;
}

bool overlaps(const proc::Mapping& mapping, Addr start, Addr end) {
  return mapping.start < end && start < mapping.end;
}

std::optional<std::string> why_no_mapping(Tid pid, const arch::Registers& entry) {
  const auto protection = entry.arg(2);
  const auto flags = entry.arg(3);
  if (is_anonymous(flags)) return std::nullopt;
  if (is_shared(flags) && (protection & PROT_WRITE) != 0)
    return "mmap of a file as writable shared memory";
  struct stat status {};
  if (::stat(descriptor_path(pid, entry.arg(4)).c_str(), &status) == 0 &&
      !S_ISREG(status.st_mode) && S_ISCHR(status.st_mode) && status.st_rdev != makedev(1, 5))
    return "mmap of a device";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> Session::why_no_memory_call(const Thread& thread,
                                                       arch::Special special) const {
  const Addr start{thread.entry.arg(0)};
  const Addr end = start + page_up(thread.entry.arg(1));
  const auto some = [&](auto matches) {
    const auto mappings = proc::ProcessDir(process_.pid()).mappings();
    return std::any_of(mappings.begin(), mappings.end(), [&](const proc::Mapping& mapping) {
      return overlaps(mapping, start, end) && matches(mapping);
    });
  };
  if (special == arch::Special::mmap) return why_no_mapping(process_.pid(), thread.entry);
  if (special == arch::Special::mprotect && has_shared_files_ &&
      (thread.entry.arg(2) & PROT_WRITE) != 0 &&
      some([](const proc::Mapping& mapping) { return mapping.shared && mapping.has_object(); }))
    return "mprotect of a file's shared memory for writing";
  constexpr int kDontneedLocked = 24;  // MADV_DONTNEED_LOCKED, Linux 5.18
  const auto advice = static_cast<int>(thread.entry.arg(2));
  if (special == arch::Special::madvise && (advice == MADV_DONTNEED || advice == kDontneedLocked) &&
      some([](const proc::Mapping& mapping) { return mapping.has_object(); }))
    return "madvise with MADV_DONTNEED on a mapped file";
  return std::nullopt;
}

void Session::note_memory_call(const Thread& thread, arch::Special special,
                               recording::Event& event) {
  const Addr start{thread.entry.arg(0)};
  const std::uint64_t size_bytes = page_up(thread.entry.arg(1));
  if (special == arch::Special::mmap) note_mapping(thread, event);
  if (special == arch::Special::munmap || special == arch::Special::mremap)
    sites_.forget(start, start + size_bytes);
  if (special == arch::Special::mprotect && (thread.entry.arg(2) & PROT_EXEC) != 0)
    note_code(start, start + size_bytes, event);
}

void Session::note_mapping(const Thread& thread, recording::Event& event) {
  const auto flags = thread.entry.arg(3);
  const Addr start{static_cast<std::uint64_t>(event.result)};
  const std::uint64_t size_bytes = page_up(thread.entry.arg(1));
  sites_.forget(start, start + size_bytes);
  if (is_shared(flags)) (is_anonymous(flags) ? has_shared_memory_ : has_shared_files_) = true;
  if (!is_anonymous(flags)) {
    if (const auto name = lasting_name(process_.pid(), thread.entry.arg(4)))
      event.file = recording::describe_file(*name);
    else
      event.writes.push_back(recording::memory_now(memory_, start, size_bytes));
  }
  if ((thread.entry.arg(2) & PROT_EXEC) != 0) note_code(start, start + size_bytes, event);
}

void Session::note_code(Addr start, Addr end, recording::Event& event) {
  for (const auto& mapping : proc::ProcessDir(process_.pid()).mappings()) {
    if (!overlaps(mapping, start, end) || !mapping.exec) continue;
    if (!mapping.has_object()) {
      notes_.insert(
          "code that the program makes at run time may read the clock or random numbers "
          "unseen");
      continue;
    }
    for (const auto& site : recording::find_sites(memory_, mapping))
      if (!sites_.has(site.at)) event.sites.push_back(site);
  }
  sites_.insert(memory_, event.sites);
}

}  // namespace ckpt::recorder
