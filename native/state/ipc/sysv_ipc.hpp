// System V semaphores and message queues (sysvipc(7)) that the process has used. They are the
// system's, by numbers that the program remembers. As long as no other process may notice, the
// restored program goes on with the ones that there are; beside the process that was saved, or when
// they are gone, it gets some of its own, under the same numbers, in an IPC namespace.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"

namespace ckpt::state {

struct SysvSemaphores {
  int id = 0;
  std::int32_t key = 0;
  std::uint32_t mode = 0;
  std::vector<std::uint16_t> values;
};

struct SysvQueue {
  struct Message {
    std::int64_t type = 0;
    std::string bytes;
  };
  int id = 0;
  std::int32_t key = 0;
  std::uint32_t mode = 0;
  std::uint64_t most_bytes = 0;
  std::vector<Message> messages;
};

struct SysvObjects {
  std::vector<SysvSemaphores> semaphores;
  std::vector<SysvQueue> queues;

  [[nodiscard]] bool empty() const { return semaphores.empty() && queues.empty(); }
};

/// Those on which the process or a descendant that lives was the last to do something, as the
/// kernel remembers it.
SysvObjects capture_sysv_objects(CaptureContext& context);

const image::Fields<SysvSemaphores>& fields_of(const SysvSemaphores* /*type*/);
const image::Fields<SysvQueue::Message>& fields_of(const SysvQueue::Message* /*type*/);
const image::Fields<SysvQueue>& fields_of(const SysvQueue* /*type*/);
const image::Fields<SysvObjects>& fields_of(const SysvObjects* /*type*/);

/// Whether one of them is gone.
bool is_missing(const SysvObjects& objects);

struct IpcNamespace {
  bool is_own = false;
  std::string
      note;  // what the user is to know: that they are not others' any more, or why they are
};
/// Puts the calling process, which has one thread, and its children into an IPC namespace with
/// these objects, the first time.
IpcNamespace enter_ipc_namespace(const SysvObjects& objects);

/// Has the next object of a kind ("shm", "sem", "msg") that anybody makes in this IPC namespace get
/// this id, where the user may choose it (CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN). False, with
/// errno, when the kernel refuses what it should allow.
[[nodiscard]] bool choose_next_id(std::string_view kind, int id);

/// While it lives, the calling thread is in the IPC namespace of a process, if it may.
class IpcVisit {
 public:
  explicit IpcVisit(const proc::ProcessDir& process);
  IpcVisit(const IpcVisit&) = delete;
  IpcVisit& operator=(const IpcVisit&) = delete;
  ~IpcVisit();
  /// False in another namespace that could not be entered.
  [[nodiscard]] bool there() const { return there_; }
  [[nodiscard]] bool elsewhere() const { return static_cast<bool>(home_); }

 private:
  UniqueFd home_;
  bool there_ = true;
};

}  // namespace ckpt::state
