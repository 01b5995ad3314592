// Kinds of open file descriptions. What is different from kind to kind is a DescriptorKind, which
// stands in the file of the kind itself; all of them are in one table (kinds.cpp). A new kind is a
// file of its own, and a line there.
#pragma once

#include <any>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/fields.hpp"
#include "state/context.hpp"
#include "state/descriptors/descriptors.hpp"

namespace ckpt::state {

class MessageQueues;
class PipeMaker;
class RemovedEntries;
class StandIns;

/// What can be learned of one that the kernel shows as anon_inode:NAME.
struct Describing {
  CaptureContext& context;
  const std::string& object;  // what reports call it
  const std::string& fdinfo;
  int own = -1;  // our duplicate of the descriptor, if the kernel gives one
};

/// What the restoring process needs to open descriptions.
struct Opening {
  const DescriptorTable& table;
  FileSource& files;
  RemovedEntries& removed;
  PipeMaker& pipes;
  MessageQueues& queues;
  const std::map<int, UniqueFd>& pty_masters;  // by the numbers that they had
};

/// What is needed to make descriptions in the program.
struct Making {
  RestoreContext& inferior;
  std::string object;
  const IdChange& ids;
  StandIns& stand_ins;
};

/// The same, when every descriptor has its number; `number` is that of the description. One that is
/// in a message only has the number at which it was made, until then.
struct Linking {
  RestoreContext& inferior;
  const DescriptorTable& table;
  const std::vector<int>& made;
  int number;
  std::string object;
};

/// How the details of a kind stand in a record.
struct DetailsForm {
  image::Json (*write)(const std::any& details);
  /// Throws Error (damaged).
  std::any (*read)(const image::Json& json);
  image::Json (*type)(image::Catalog& catalog);
};

/// Of a kind that has a struct with fields.
template <typename Details>
inline constexpr DetailsForm kDetails = {
    [](const std::any& details) { return image::encode(std::any_cast<const Details&>(details)); },
    [](const image::Json& json) -> std::any { return image::decode<Details>(json); },
    [](image::Catalog& catalog) { return image::Codec<Details>::type(catalog); }};

struct DescriptorKind {
  std::string_view name;         // in the record
  std::string_view anonymous{};  // NAME in anon_inode:NAME
  /// Sets the description's details. False if the kernel does not show what is needed.
  bool (*describe)(const Describing& describing, Description& description) = nullptr;
  const DetailsForm* details = nullptr;
  /// In the restoring process, whose descriptor the program inherits; or
  UniqueFd (*open)(const Description& description, const Opening& opening) = nullptr;
  /// in the program: returns a number that is none of the program's.
  int (*make)(const Description& description, const Making& making) = nullptr;
  /// What leads to other descriptions.
  void (*link)(const Description& description, const Linking& linking) = nullptr;
  /// The last thing before the program goes on.
  void (*start)(const Description& description, RestoreContext& inferior, int number) = nullptr;
  bool is_file = false;  // has a place in a file system
};

/// All of them.
std::span<const DescriptorKind* const> all_kinds();
/// The kind of that name in a record; nullptr if there is none.
const DescriptorKind* find_kind(std::string_view name);
/// The kind of anon_inode:NAME; nullptr if it is not known.
const DescriptorKind* find_anonymous_kind(std::string_view name);

/// The lowest number of a description; nothing for one that is in a message only.
std::optional<int> number_of(const DescriptorTable& table, std::size_t description);

/// The same, but the number at which it was made for one that is in a message only.
int number_until_linked(const DescriptorTable& table, const std::vector<int>& made,
                        std::size_t description);

template <auto Function>
bool described_by(const Describing& describing, Description& description) {
  auto details = Function(describing.fdinfo);
  if (details) description.details = std::move(*details);
  return details.has_value();
}

/// Makes in the program what stands in for a description that cannot be made.
int make_nothing(RestoreContext& inferior);

/// Those that other code asks for.
namespace kinds {
extern const DescriptorKind kFile;  // regular, with or without a name
// Directory, safe device, /proc or /sys file: opened again by name. A directory has what stands in
// for it if it is gone by then, a file of another process in /proc has that one.
extern const DescriptorKind kPath;
extern const DescriptorKind kRemovedDirectory;
extern const DescriptorKind kRemovedEntry;  // a symbolic link or a stateless device
extern const DescriptorKind kOwnProc;       // /proc/PID file of the process itself
extern const DescriptorKind kTerminal;      // comes back as the restoring program's terminal
// 0, 1 or 2 with a far end outside: the restoring program's own.
extern const DescriptorKind kStream;
extern const DescriptorKind kPipe;  // at least one end inside
extern const DescriptorKind kEventfd;
extern const DescriptorKind kTimerfd;
extern const DescriptorKind kSignalfd;
extern const DescriptorKind kPidfd;
extern const DescriptorKind kEpoll;
extern const DescriptorKind kInotify;
extern const DescriptorKind kFanotify;
extern const DescriptorKind kSocket;
extern const DescriptorKind kPtyMaster;
extern const DescriptorKind kPtySlave;
extern const DescriptorKind kMessageQueue;
extern const DescriptorKind kIoUring;
}  // namespace kinds

}  // namespace ckpt::state
