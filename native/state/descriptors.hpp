// Open descriptors. A descriptor is a number that refers to an open file description (open(2));
// several numbers may refer to one, and share its offset and flags. That sharing is kept.
//
// What comes back: regular files (see kept_file.hpp), directories, harmless devices, pipes with the
// bytes in them, terminals and outside streams as those of the restoring program. Everything else
// is named in the fidelity report and comes back as a descriptor on which every use fails.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/format.hpp"
#include "state/context.hpp"
#include "state/kept_file.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

enum class DescriptionKind {
  file,      // regular, with or without a name
  path,      // directory, safe device, /proc or /sys file: opened again by name
  terminal,  // comes back as the restoring program's terminal
  stream,    // descriptor 0, 1 or 2 with a far end outside: the restoring program's own
  pipe,      // at least one end inside
  lost,
};

/// An open file description.
struct Description {
  DescriptionKind kind = DescriptionKind::lost;
  std::string path;  // as /proc shows it
  std::uint32_t flags = 0;
  std::uint64_t offset_bytes = 0;
  std::optional<KeptFile> file;
  int stream = -1;                   // which of 0, 1, 2
  std::uint64_t pipe = 0;            // names the pipe; its ends have the same
  std::uint64_t pipe_bytes = 0;      // capacity
  std::vector<std::string> content;  // what is in the pipe: one piece, or packets
};

struct Descriptor {
  int fd = -1;
  bool close_on_exec = false;
  std::size_t description = 0;
};

struct DescriptorTable {
  std::vector<Descriptor> descriptors;  // ascending
  std::vector<Description> descriptions;
};

DescriptorTable capture_descriptors(CaptureContext& context);

image::Json descriptors_to_json(const DescriptorTable& table);
/// Throws Error (damaged).
DescriptorTable descriptors_from_json(const image::Json& json);

/// Decides for every file how it comes back; throws where one cannot. Opens nothing for good.
void check_descriptors(const DescriptorTable& table, FileSource& files);

/// Opens everything in the restoring program, one fd a description, in the order of the table.
/// Overridden streams (options) come last: stream -> index.
struct OpenedDescriptions {
  std::vector<UniqueFd> fds;
  std::map<int, std::size_t> streams;
};
OpenedDescriptions open_descriptions(const DescriptorTable& table, FileSource& files);

/// Puts the opened descriptions, which the program has inherited at `inherited[i]`, where they
/// belong, and closes everything else.
void place_descriptors(tracee::RemoteThread& thread, const tracee::Scratch& scratch,
                       const DescriptorTable& table, const OpenedDescriptions& opened,
                       const std::vector<int>& inherited);

}  // namespace ckpt::state
