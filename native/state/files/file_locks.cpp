#include "state/files/file_locks.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

using image::Json;
using Kind = FileLock::Kind;

constexpr std::array<std::pair<Kind, std::string_view>, 4> kLockKinds = {{
    {Kind::posix, "POSIX"},
    {Kind::open_file, "OFDLCK"},
    {Kind::flock, "FLOCK"},
    {Kind::lease, "LEASE"},
}};

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::posix:
    case Kind::open_file: return "record lock";
    case Kind::flock: return "flock";
    case Kind::lease: return "lease";
  }
  return "lock";
}

// "1: POSIX  ADVISORY  WRITE 1234 fe:00:10952917 0 EOF"
std::optional<FileLock> parse_lock(std::string_view text) {
  FileLock lock;
  proc::next_word(text);
  const auto kind = image::Named<kLockKinds>::find(proc::next_word(text));
  const auto advisory = proc::next_word(text);
  const auto type = proc::next_word(text);
  proc::next_word(text);  // the owner's id
  proc::next_word(text);  // the file
  const auto start = proc::parse_number<std::int64_t>(proc::next_word(text));
  const auto end = proc::next_word(text);
  if (!kind || !start || (type != "READ" && type != "WRITE")) return std::nullopt;
  // A lease that is being broken will be taken away whatever the program does.
  if (*kind == Kind::lease && advisory != "ACTIVE") return std::nullopt;
  lock.kind = *kind;
  lock.write = type == "WRITE";
  lock.start = *start;
  if (end != "EOF") {
    const auto last = proc::parse_number<std::int64_t>(end);
    if (!last || *last < *start) return std::nullopt;
    lock.length_bytes = *last - *start + 1;
  }
  return lock;
}

std::int64_t take(RestoreContext& inferior, int fd, const FileLock& lock) {
  switch (lock.kind) {
    case Kind::flock:
      return inferior.attempt(SYS_flock, {fd, (lock.write ? LOCK_EX : LOCK_SH) | LOCK_NB});
    case Kind::lease:
      return inferior.attempt(SYS_fcntl, {fd, F_SETLEASE, lock.write ? F_WRLCK : F_RDLCK});
    case Kind::posix:
    case Kind::open_file: break;
  }
  struct flock wanted {};
  wanted.l_type = lock.write ? F_WRLCK : F_RDLCK;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = lock.start;
  wanted.l_len = lock.length_bytes;
  const auto at = inferior.put_value(wanted);
  const std::uint64_t command = lock.kind == Kind::posix ? F_SETLK : F_OFD_SETLK;
  return inferior.attempt(SYS_fcntl, {fd, command, at});
}

}  // namespace

std::vector<FileLock> read_locks(CaptureContext& context, const std::string& object,
                                 const std::vector<std::string>& lines) {
  std::vector<FileLock> locks;
  for (const std::string& line : lines) {
    if (const auto lock = parse_lock(line))
      locks.push_back(*lock);
    else
      context.report.add(Severity::lost, object, "file lock",
                         fmt::format("the lock \"{}\" is not taken again", line));
  }
  return locks;
}

FileOwner read_owner(int own) {
  FileOwner owner;
  f_owner_ex who{};
  if (::fcntl(own, F_GETOWN_EX, &who) != 0) return owner;
  owner.type = who.type;
  owner.id = who.pid;
  const int number = ::fcntl(own, F_GETSIG);
  owner.signal = number > 0 ? number : 0;
  return owner;
}

const image::Fields<FileLock>& fields_of(const FileLock* /*type*/) {
  static const image::Fields<FileLock> fields = {
      "lock",
      {image::Field<FileLock>::as<image::Named<kLockKinds>>("kind", &FileLock::kind, ""),
       {"write", &FileLock::write, ""},
       {"start", &FileLock::start, ""},
       {"length", &FileLock::length_bytes, "in bytes; 0: to the end"}},
      [](FileLock& lock) {
        if (lock.start < 0 || lock.length_bytes < 0) image::damaged("a lock");
      }};
  return fields;
}

const image::Fields<FileOwner>& fields_of(const FileOwner* /*type*/) {
  static const image::Fields<FileOwner> fields = {"owner",
                                                  {{"type", &FileOwner::type, "F_OWNER_*"},
                                                   {"id", &FileOwner::id, "0: none"},
                                                   {"signal", &FileOwner::signal, "0: SIGIO"}},
                                                  [](FileOwner& owner) {
                                                    if (owner.type < F_OWNER_TID ||
                                                        owner.type > F_OWNER_PGRP || owner.id < 0 ||
                                                        owner.signal < 0 || owner.signal > 64)
                                                      image::damaged("the owner of a file");
                                                  }};
  return fields;
}

void take_locks(RestoreContext& inferior, int fd, const std::vector<FileLock>& locks,
                const std::string& path, std::string_view holder) {
  for (const FileLock& lock : locks) {
    const std::int64_t result = take(inferior, fd, lock);
    if (result == 0) continue;
    if (result == -EAGAIN || result == -EACCES)
      inferior.notes.push_back(fmt::format("fd {}: the {} on {} is not the program's: {} locked it",
                                           fd, name_of(lock.kind), path, holder));
    else
      inferior.notes.push_back(fmt::format("fd {}: the {} on {} could not be taken again: {}", fd,
                                           name_of(lock.kind), path,
                                           describe_errno(static_cast<int>(-result))));
  }
}

void set_owner(RestoreContext& inferior, int fd, const FileOwner& owner,
               const std::function<Tid(int type, Tid)>& renewed) {
  if (owner.id != 0) {
    f_owner_ex who{};
    who.type = static_cast<decltype(who.type)>(owner.type);
    who.pid = renewed(owner.type, owner.id);
    const auto at = inferior.put_value(who);
    inferior.attempt(SYS_fcntl, {fd, F_SETOWN_EX, at});
  }
  if (owner.signal != 0) inferior.attempt(SYS_fcntl, {fd, F_SETSIG, owner.signal});
}

}  // namespace ckpt::state
