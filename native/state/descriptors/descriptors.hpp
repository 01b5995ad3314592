// Open descriptors. A descriptor is a number that refers to an open file description (open(2));
// several numbers may refer to one, and share its offset and flags. That sharing is kept. So is
// what is on its way in messages, which may hold the only reference.
//
// This file has the table; what there is of each kind is in a file of its own (kinds.hpp).
// What cannot come back is named in the fidelity report, and every use of it fails.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <any>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/files/file_locks.hpp"
#include "state/files/file_source.hpp"
#include "state/files/removed_entries.hpp"
#include "state/sockets/silent_peers.hpp"
#include "state/surroundings/neighbours.hpp"
#include "state/surroundings/other_process.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

struct DescriptorKind;  // kinds.hpp
namespace kinds {
extern const DescriptorKind kLost;  // does not come back
}

/// Whether open(2)'s flags allow only that.
inline bool reads_only(std::uint32_t flags) { return (flags & O_ACCMODE) == O_RDONLY; }
inline bool writes_only(std::uint32_t flags) { return (flags & O_ACCMODE) == O_WRONLY; }

/// An open file description.
struct Description {
  const DescriptorKind* kind = &kinds::kLost;
  std::string path;  // as /proc shows it
  std::uint32_t flags = 0;
  std::uint64_t offset_bytes = 0;
  std::optional<KeptFile> file;
  int stream = -1;  // which of 0, 1, 2
  FileOwner owner;
  std::vector<FileLock> locks;
  std::any details;  // what only this kind has: a struct of its own, or nothing

  /// The details if they are of that type, else nullptr.
  template <typename Details>
  [[nodiscard]] const Details* as() const {
    return std::any_cast<Details>(&details);
  }
  template <typename Details>
  [[nodiscard]] Details* as() {
    return std::any_cast<Details>(&details);
  }
  /// The details, which are of that type.
  template <typename Details>
  [[nodiscard]] const Details& get() const {
    return std::any_cast<const Details&>(details);
  }
};

struct Descriptor {
  int fd = -1;
  bool close_on_exec = false;
  std::size_t description = 0;
};

/// What a process has open, where it is looked at: the numbers are its own, and the descriptions
/// that these lead to may be other processes', too.
struct DescriptorTable {
  const std::vector<Descriptor>& descriptors;  // ascending
  const std::vector<Description>& descriptions;
};

struct CapturedDescriptors {
  std::vector<Descriptor> descriptors;
  std::vector<Description> descriptions;

  [[nodiscard]] DescriptorTable table() const { return {descriptors, descriptions}; }
};
CapturedDescriptors capture_descriptors(CaptureContext& context);

const image::Fields<Description>& fields_of(const Description* /*type*/);
const image::Fields<Descriptor>& fields_of(const Descriptor* /*type*/);
/// What descriptions say of others. Throws Error (damaged) for one that is not there.
void check_references(const std::vector<Description>& descriptions);
/// Ascending numbers of descriptions that are there. Throws Error (damaged).
void check_descriptor_numbers(const std::vector<Descriptor>& descriptors, std::size_t descriptions);

/// Decides for every file how it comes back; throws where one cannot. Opens nothing for good.
void check_descriptors(const DescriptorTable& table, FileSource& files);

/// Regular files that the program will have open: not those in whose place a standard stream is
/// given.
std::vector<const Description*> files_in_use(const DescriptorTable& table,
                                             const RestoreOptions& options);

/// What the restoring program opens and the new one inherits, in the order of the table; empty for
/// what is made in the process itself. Overridden streams (options) come last: stream -> index.
struct OpenedDescriptions {
  std::vector<UniqueFd> fds;
  std::map<int, std::size_t> streams;
  std::optional<std::size_t> working_directory;
  std::unique_ptr<BriefProcess> stand_in;  // whose directory is the working one
  SilentPeers peers;                       // if it was asked for them
};
/// One that its name does not lead to, or not for sure.
struct WorkingDirectory {
  std::string path;                   // as /proc shows it
  std::optional<RemovedEntry> entry;  // a removed one
  std::optional<Identity> process;    // one of another process, in /proc
};
OpenedDescriptions open_descriptions(const DescriptorTable& table,
                                     const std::optional<WorkingDirectory>& working_directory,
                                     FileSource& files);

/// The ids that the process has now.
struct IdChange {
  std::map<Tid, Tid> threads;   // saved -> now; the process is its main thread
  std::map<Tid, Tid> children;  // the same, of what has ended and was not waited for
  Tid group_before = 0;
  Tid group_now = 0;

  [[nodiscard]] Tid thread(Tid saved) const {
    const auto found = threads.find(saved);
    return found == threads.end() ? saved : found->second;
  }
};

/// Makes in the process, at numbers that are not in the way, what it has not inherited: fills in
/// `inherited`, which has -1 there. `apart`:
/// from the process that was saved, which still runs. `peers` get the far ends of connections that
/// led out; without it, these are cut.
void make_descriptions(RestoreContext& inferior, const DescriptorTable& table,
                       const std::string& directory, const IdChange& ids, bool apart,
                       SilentPeers* peers, std::vector<int>& inherited);

/// Puts all descriptions, which the program has at `inherited[i]`, where they belong, and closes
/// everything else but those that are in messages only.
void place_descriptors(tracee::Inferior& inferior, const DescriptorTable& table,
                       const OpenedDescriptions& opened, const std::vector<int>& inherited);

/// What needs the final numbers: epoll sets, locks, owners. Closes what is in messages only, which
/// the program has at `inherited[i]`. `original_runs`: the process that was saved does.
void link_descriptors(RestoreContext& inferior, const DescriptorTable& table,
                      const std::vector<int>& inherited, const IdChange& ids, bool original_runs);

/// The number of the pseudoterminal that controls a process which leads its session, if its master
/// is in the table.
std::optional<int> own_terminal(const proc::ProcessDir& process, const DescriptorTable& table);
/// Has that control the process, which leads a session without a terminal, again.
void take_terminal(RestoreContext& inferior, const DescriptorTable& table, int own_terminal);

/// Lets timers run on, and the kernel's threads of rings: the last thing before the program does.
void start_descriptions(RestoreContext& inferior, const DescriptorTable& table);

/// The number by which messages name a description: "fd 5".
std::string description_name(const DescriptorTable& table, std::size_t description);

}  // namespace ckpt::state
