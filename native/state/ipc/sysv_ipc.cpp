#include "state/ipc/sysv_ipc.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"
#include "state/surroundings/namespaces.hpp"

#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

namespace ckpt::state {

namespace {

using image::Json;

constexpr std::size_t kMostBytes = 1U << 20U;  // of one message; the kernel's limit is lower

union SemaphoreArgument {
  int value;
  semid_ds* status;
  unsigned short* values;
};

// The lines of a table in /proc/sysvipc, without its heading, as words.
std::vector<std::vector<std::string>> table(const std::string& name) {
  std::vector<std::vector<std::string>> lines;
  const std::string text = try_read_file("/proc/sysvipc/" + name).value_or("");
  std::string_view rest = text;
  proc::cut(rest, '\n');
  while (!rest.empty()) {
    std::string_view line = proc::cut(rest, '\n');
    std::vector<std::string> words;
    for (std::string_view word = proc::next_word(line); !word.empty(); word = proc::next_word(line))
      words.emplace_back(word);
    lines.push_back(std::move(words));
  }
  return lines;
}

int number_of(const std::vector<std::string>& words, std::size_t index) {
  return index < words.size() ? proc::parse_number<int>(words[index]).value_or(-1) : -1;
}

// The process and its descendants: what the kernel tells of an object is who used it last.
void add_family(const proc::ProcessDir& process, std::set<Tid>& family) {
  if (!family.insert(process.pid()).second) return;
  try {
    for (const Tid child : process.children()) add_family(proc::ProcessDir(child), family);
  } catch (const Error&) {  // it has ended meanwhile
  }
}

bool was_last_at(int id, unsigned count, const std::set<Tid>& family) {
  for (unsigned i = 0; i < count; ++i)
    if (family.contains(::semctl(id, static_cast<int>(i), GETPID))) return true;
  return false;
}

// An empty family: all are the program's.
std::optional<SysvSemaphores> look_at_semaphores(int id, const std::set<Tid>& family) {
  semid_ds status{};
  SemaphoreArgument argument{};
  argument.status = &status;
  if (::semctl(id, 0, IPC_STAT, argument) != 0) return std::nullopt;
  const auto count = static_cast<unsigned>(status.sem_nsems);
  if (!family.empty() && !was_last_at(id, count, family)) return std::nullopt;
  SysvSemaphores set{id, status.sem_perm.__key, status.sem_perm.mode & 0777U, {}};
  set.values.resize(count);
  argument.values = set.values.data();
  if (::semctl(id, 0, GETALL, argument) != 0) return std::nullopt;
  return set;
}

std::optional<SysvQueue> look_at_queue(int id, const std::set<Tid>& family) {
  msqid_ds status{};
  if (::msgctl(id, IPC_STAT, &status) != 0) return std::nullopt;
  if (!family.empty() && !family.contains(status.msg_lspid) && !family.contains(status.msg_lrpid))
    return std::nullopt;
  SysvQueue queue{id, status.msg_perm.__key, status.msg_perm.mode & 0777U, status.msg_qbytes, {}};
  std::vector<char> buffer(sizeof(long) + kMostBytes);
  for (std::size_t index = 0; index < status.msg_qnum; ++index) {
    // msgrcv(2): the message of that number, which stays where it is.
    const ssize_t size =
        ::msgrcv(id, buffer.data(), kMostBytes, static_cast<long>(index), MSG_COPY | IPC_NOWAIT);
    if (size < 0) break;
    long type = 0;
    std::copy_n(buffer.data(), sizeof type, reinterpret_cast<char*>(&type));
    queue.messages.push_back(
        {type, std::string(buffer.data() + sizeof type, static_cast<std::size_t>(size))});
  }
  return queue;
}

void make(const SysvSemaphores& set) {
  if (!choose_next_id("sem", set.id)) throw_errno("choose the id of System V semaphores", errno);
  std::vector<unsigned short> values(set.values.begin(), set.values.end());
  SemaphoreArgument argument{};
  argument.values = values.data();
  const int id = ::semget(set.key, static_cast<int>(values.size()),
                          static_cast<int>(IPC_CREAT | IPC_EXCL | set.mode | 0600U));
  if (id < 0 || ::semctl(id, 0, SETALL, argument) != 0)
    throw_errno(fmt::format("make System V semaphores {}", set.id), errno);
}

void make(const SysvQueue& queue) {
  if (!choose_next_id("msg", queue.id)) throw_errno("choose the id of a message queue", errno);
  const int id = ::msgget(queue.key, static_cast<int>(IPC_CREAT | IPC_EXCL | queue.mode | 0600U));
  if (id < 0) throw_errno(fmt::format("make System V message queue {}", queue.id), errno);
  msqid_ds status{};
  if (::msgctl(id, IPC_STAT, &status) == 0) {
    status.msg_qbytes = queue.most_bytes;
    ::msgctl(id, IPC_SET, &status);
  }
  for (const auto& message : queue.messages) {
    std::string bytes(reinterpret_cast<const char*>(&message.type), sizeof(long));
    bytes += message.bytes;
    if (::msgsnd(id, bytes.data(), message.bytes.size(), IPC_NOWAIT) != 0)
      throw_errno(fmt::format("fill System V message queue {}", queue.id), errno);
  }
}

}  // namespace

bool choose_next_id(std::string_view kind, int id) {
  const UniqueFd setting(
      ::open(fmt::format("/proc/sys/kernel/{}_next_id", kind).c_str(), O_WRONLY | O_CLOEXEC));
  const std::string text = std::to_string(id);
  return !setting || ::write(setting.get(), text.data(), text.size()) >= 0;
}

IpcVisit::IpcVisit(const proc::ProcessDir& process) {
  const proc::ProcessDir own(::getpid());
  if (process.link("ns/ipc") == own.link("ns/ipc")) return;
  there_ = false;
  UniqueFd home(::open("/proc/thread-self/ns/ipc", O_RDONLY | O_CLOEXEC));
  const UniqueFd theirs(::open(process.path("ns/ipc").c_str(), O_RDONLY | O_CLOEXEC));
  if (!home || !theirs || ::setns(theirs.get(), CLONE_NEWIPC) != 0) return;
  home_ = std::move(home);
  there_ = true;
}

IpcVisit::~IpcVisit() {
  if (home_) ::setns(home_.get(), CLONE_NEWIPC);
}

SysvObjects capture_sysv_objects(CaptureContext& context) {
  const IpcVisit visit(context.process);
  SysvObjects objects;
  if (!visit.there()) return objects;
  // In a namespace of its own all are the program's.
  std::set<Tid> family;
  if (!visit.elsewhere()) add_family(context.process, family);
  constexpr std::string_view kComesBack =
      "the restored program goes on with what is there by then; beside the process that was saved, "
      "or "
      "when it is gone, with one of its own as of now";
  for (const auto& words : table("sem")) {
    auto set = look_at_semaphores(number_of(words, 1), family);
    if (!set) continue;
    context.report.add(Severity::changed, fmt::format("System V semaphores {}", set->id),
                       "semaphores", std::string(kComesBack));
    objects.semaphores.push_back(std::move(*set));
  }
  for (const auto& words : table("msg")) {
    auto queue = look_at_queue(number_of(words, 1), family);
    if (!queue) continue;
    context.report.add(Severity::changed, fmt::format("System V message queue {}", queue->id),
                       "message queue", std::string(kComesBack));
    objects.queues.push_back(std::move(*queue));
  }
  return objects;
}

const image::Fields<SysvSemaphores>& fields_of(const SysvSemaphores* /*type*/) {
  static const image::Fields<SysvSemaphores> fields = {
      "sysv_semaphores",
      {{"id", &SysvSemaphores::id, ""},
       {"key", &SysvSemaphores::key, ""},
       {"mode", &SysvSemaphores::mode, "permissions"},
       {"values", &SysvSemaphores::values, ""}},
      [](SysvSemaphores& set) {
        if (set.id < 0 || set.values.empty() || (set.mode & ~0777U) != 0)
          image::damaged("System V semaphores");
      }};
  return fields;
}

const image::Fields<SysvQueue::Message>& fields_of(const SysvQueue::Message* /*type*/) {
  using M = SysvQueue::Message;
  static const image::Fields<M> fields = {
      "sysv_message",
      {{"type", &M::type, "positive"}, image::Field<M>::as<image::Bytes>("bytes", &M::bytes, "")},
      [](M& message) {
        if (message.type <= 0) image::damaged("a System V message queue");
      }};
  return fields;
}

const image::Fields<SysvQueue>& fields_of(const SysvQueue* /*type*/) {
  static const image::Fields<SysvQueue> fields = {
      "sysv_queue",
      {{"id", &SysvQueue::id, ""},
       {"key", &SysvQueue::key, ""},
       {"mode", &SysvQueue::mode, "permissions"},
       {"most_bytes", &SysvQueue::most_bytes, "`msg_qbytes`"},
       {"messages", &SysvQueue::messages, "in the order in which they were sent"}},
      [](SysvQueue& queue) {
        if (queue.id < 0 || (queue.mode & ~0777U) != 0) image::damaged("a System V message queue");
      }};
  return fields;
}

const image::Fields<SysvObjects>& fields_of(const SysvObjects* /*type*/) {
  static const image::Fields<SysvObjects> fields = {
      "sysv",
      {{"semaphores", &SysvObjects::semaphores, "sets of semaphores"},
       {"queues", &SysvObjects::queues, "message queues"}}};
  return fields;
}

bool is_missing(const SysvObjects& objects) {
  for (const auto& set : objects.semaphores)
    if (::semctl(set.id, 0, GETVAL) < 0 && (errno == EINVAL || errno == EIDRM)) return true;
  for (const auto& queue : objects.queues) {
    msqid_ds status{};
    if (::msgctl(queue.id, IPC_STAT, &status) != 0 && (errno == EINVAL || errno == EIDRM))
      return true;
  }
  return false;
}

IpcNamespace enter_ipc_namespace(const SysvObjects& objects) {
  IpcNamespace done = {
      true,
      "the program's System V objects are its own, under their old ids: others do not see them"};
  static bool entered = false;
  if (entered) return done;
  try {
    if (!may_make_namespaces()) enter_user_namespace("make a user namespace");
    if (::unshare(CLONE_NEWIPC) != 0) throw_errno("make an IPC namespace", errno);
  } catch (const Error& error) {
    return {false,
            fmt::format(
                "the program's System V objects cannot be kept apart from those of others "
                "({}): what it does by their ids reaches the processes that have them, and what is "
                "gone is not made again",
                error.what())};
  }
  entered = true;
  for (const auto& set : objects.semaphores) make(set);
  for (const auto& queue : objects.queues) make(queue);
  return done;
}

}  // namespace ckpt::state
