#include "state/process/thread_place.hpp"

#include <linux/kcmp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <span>

#include "base/error.hpp"

namespace ckpt::state {

namespace {

// Nothing where the kernel does not compare (CONFIG_KCMP): then they share it, as nearly all do.
bool has_own(Tid usual, Tid lwp, kcmp_type what) {
  return ::syscall(SYS_kcmp, usual, lwp, what, 0UL, 0UL) > 0;
}

std::string own_namespaces(const proc::ProcessDir& process, Tid lwp) {
  std::string names;
  for (const char* name : {"mnt", "net", "ipc", "uts", "cgroup"}) {
    const auto theirs = process.link(fmt::format("task/{}/ns/{}", lwp, name));
    if (!theirs || theirs == process.link(fmt::format("ns/{}", name))) continue;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  return names;
}

}  // namespace

std::optional<ThreadPlace> look_at_place(CaptureContext& context, Tid lwp) {
  const Tid usual = context.process.through();
  if (lwp == usual) return std::nullopt;
  const std::string object = fmt::format("thread {}", lwp);
  if (has_own(usual, lwp, KCMP_FILES))
    context.report.add(Severity::lost, object, "descriptors",
                       "its own table of descriptors (unshare(CLONE_FILES)) does not come back: it "
                       "has those of the others");
  if (const std::string names = own_namespaces(context.process, lwp); !names.empty())
    context.report.add(Severity::changed, object, "namespaces",
                       fmt::format("it is in namespaces of its own ({}): it comes back in those of "
                                   "the others",
                                   names));
  if (!has_own(usual, lwp, KCMP_FS)) return std::nullopt;
  return ThreadPlace{context.process.link(fmt::format("task/{}/cwd", lwp)).value_or("/"),
                     context.process.status(lwp).umask};
}

const image::Fields<ThreadPlace>& fields_of(const ThreadPlace* /*type*/) {
  static const image::Fields<ThreadPlace> fields = {
      "place",
      {{"cwd", &ThreadPlace::directory, "its working directory"},
       {"umask", &ThreadPlace::umask, ""}},
      [](ThreadPlace& place) {
        if (place.directory.size() >= PATH_MAX) image::damaged("the working directory of a thread");
      }};
  return fields;
}

void restore_place(RestoreContext& inferior, const ThreadPlace& place) {
  inferior.attempt(SYS_unshare, {CLONE_FS});
  inferior.attempt(SYS_umask, {place.umask});
  const int error =
      tracee::error_of(inferior.attempt(SYS_chdir, {inferior.put_string(place.directory)}));
  if (error == 0) return;
  inferior.notes.push_back(
      fmt::format("thread {}: its working directory {} cannot be entered ({}): it is in "
                  "that of the main thread",
                  inferior.tid(), place.directory, describe_errno(error)));
}

}  // namespace ckpt::state
