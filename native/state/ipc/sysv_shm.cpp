#include "state/ipc/sysv_shm.hpp"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <limits>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/process_dir.hpp"
#include "state/ipc/sysv_ipc.hpp"

namespace ckpt::state {

namespace {

using image::Json;

}  // namespace

std::optional<SysvSegment> look_at_segment(CaptureContext& context, const proc::Mapping& mapping) {
  if (!mapping.path.starts_with("/SYSV")) return std::nullopt;
  const IpcVisit visit(context.process);
  if (!visit.there()) return std::nullopt;
  // ipc/shm.c: the inode's number is the id.
  if (mapping.inode > static_cast<std::uint64_t>(std::numeric_limits<int>::max()))
    return std::nullopt;
  SysvSegment segment;
  segment.id = static_cast<int>(mapping.inode);
  shmid_ds status{};
  if (::shmctl(segment.id, IPC_STAT, &status) != 0) return std::nullopt;
  segment.size_bytes = status.shm_segsz;
  segment.mode = status.shm_perm.mode & 0777U;
  segment.key = status.shm_perm.__key;
  segment.removed = (status.shm_perm.mode & SHM_DEST) != 0;

  // The kernel counts the mappings of all processes, parts of one attachment included.
  std::uint64_t own = 0;
  std::optional<Addr> first;
  for (const auto& other : context.mappings) {
    if (other.inode != mapping.inode || other.path != mapping.path) continue;
    if (!first) first = other.start;
    ++own;
  }
  std::string effect;
  if (status.shm_nattch > own)
    effect = "is shared with other processes: the program gets a segment of its own";
  else if (!segment.removed)
    effect = "comes back as a segment of this program alone, and goes away with it";
  if (mapping.has_flag("ht")) {
    // Its mappings end where a huge page does, and must not be longer than it.
    segment.size_bytes = (segment.size_bytes + mapping.page_bytes - 1) & ~(mapping.page_bytes - 1);
    effect += effect.empty() ? "comes back without huge pages" : ", without huge pages";
  }
  const std::string object = fmt::format("System V shared memory {}", segment.id);
  if (!effect.empty() && first == mapping.start)
    context.report.add(Severity::changed, object, "shared memory",
                       fmt::format("{} {}", mapping.path, effect));
  return segment;
}

const image::Fields<SysvSegment>& fields_of(const SysvSegment* /*type*/) {
  using enum image::Presence;
  static const image::Fields<SysvSegment> fields = {
      "sysv_segment",
      {{"id", &SysvSegment::id, ""},
       {"size_bytes", &SysvSegment::size_bytes, ""},
       {"mode", &SysvSegment::mode, "permissions"},
       {"key", &SysvSegment::key, "0 if it is missing", later},
       {"removed", &SysvSegment::removed,
        "whether it goes away when it is detached everywhere; true if it is missing", later}},
      [](SysvSegment& segment) {
        if (segment.id < 0 || segment.size_bytes == 0 || (segment.mode & ~0777U) != 0)
          image::damaged("a System V shared memory segment");
      }};
  return fields;
}

bool is_found_by_key(const SysvSegment& segment) {
  return segment.key != IPC_PRIVATE && !segment.removed;
}

bool is_taken(const SysvSegment& segment) {
  shmid_ds status{};
  return ::shmctl(segment.id, IPC_STAT, &status) == 0 || errno != EINVAL;
}

void attach_segment(RestoreContext& inferior, const SysvSegment& segment, Addr place) {
  // As an ordinary user may not: then the segment has another id, which is said.
  if (!is_taken(segment)) static_cast<void>(choose_next_id("shm", segment.id));
  const bool is_kept = inferior.own_ipc && !segment.removed;  // as long as the namespace is there
  const auto id =
      static_cast<int>(inferior.call("shmget", SYS_shmget,
                                     {is_kept ? segment.key : IPC_PRIVATE, segment.size_bytes,
                                      IPC_CREAT | IPC_EXCL | segment.mode | 0600U}));
  const std::int64_t attached = inferior.attempt(SYS_shmat, {id, place, 0});
  // Now, lest it outlive the program, or a restore that fails.
  if (!is_kept) inferior.call("shmctl (IPC_RMID)", SYS_shmctl, {id, IPC_RMID});
  if (attached != static_cast<std::int64_t>(place.value))
    throw_errno(fmt::format("attach System V shared memory at {}", place),
                tracee::error_of(attached));
  if (is_found_by_key(segment) && !is_kept)
    inferior.notes.push_back(
        fmt::format("System V shared memory {} is not found by its key {:#x} any more", segment.id,
                    static_cast<std::uint32_t>(segment.key)));
  if (id != segment.id)
    inferior.notes.push_back(
        fmt::format("System V shared memory {} has another id now: {}", segment.id, id));
}

}  // namespace ckpt::state
