// io_uring (io_uring(7)): two rings in memory that the program shares with the kernel.
//
// What the kernel has counted cannot be set. A new ring is brought to the saved counters by as many
// requests that do nothing; then its memory is filled as it was. What was in flight ends in the
// copy with ECANCELED, as far as the ring's memory still tells what it was.
//
// Flags of io_uring_setup(2) that only say how the kernel does its work (IORING_SETUP_COOP_TASKRUN,
// _SINGLE_ISSUER, _DEFER_TASKRUN, _IOPOLL) cannot be seen from outside. A ring without them does
// what one with them does, and more.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "image/fields.hpp"
#include "state/context.hpp"

namespace ckpt::state {

/// Where in the rings what is, in bytes. It depends on the kernel, and the program remembers it.
struct RingLayout {
  std::uint32_t sq_head = 0, sq_tail = 0, sq_dropped = 0, sq_array = 0;
  std::uint32_t cq_head = 0, cq_tail = 0, cq_overflow = 0, cq_flags = 0, cqes = 0;

  bool operator==(const RingLayout&) const = default;
};

struct RingMapping {
  Addr start;
  std::uint64_t size_bytes = 0;
  std::uint64_t offset_bytes = 0;  // IORING_OFF_*
  bool read = false, write = false;
  bool not_for_children = false;  // MADV_DONTFORK
};

struct IoUring {
  std::uint32_t setup_flags = 0;  // IORING_SETUP_*, those that matter
  std::uint32_t sq_entries = 0, cq_entries = 0;
  RingLayout layout;
  std::uint32_t sq_head = 0, sq_tail = 0, cq_head = 0, cq_tail = 0;
  std::uint32_t sq_dropped = 0, cq_overflow = 0, cq_flags = 0;
  std::vector<std::byte> array;  // empty with IORING_SETUP_NO_SQARRAY
  std::vector<std::byte> cqes, sqes;
  std::vector<std::string> file_names;                  // at the save only, "" for an empty slot
  std::vector<std::optional<std::size_t>> files;        // registered ones: descriptions
  std::vector<std::pair<Addr, std::uint64_t>> buffers;  // registered ones; 0 bytes: an empty slot
  bool has_eventfd = false;                             // at the save only
  std::optional<std::size_t> eventfd;                   // registered: a description
  std::vector<RingMapping> mappings;
  std::vector<std::uint64_t> cancelled;  // user_data of what was in flight

  [[nodiscard]] bool has_array() const { return !array.empty(); }
};

/// `fd` of the program, `own` our duplicate. Nothing if the ring cannot be made again: then
/// `why_not` says why.
std::optional<IoUring> read_io_uring(CaptureContext& context, const std::string& object, int fd,
                                     int own, ino_t inode, std::string& why_not);

/// The numbers of the descriptors that are rings.
std::vector<int> find_rings(const proc::ProcessDir& process);

/// Gives what is in flight in any ring time to end: for a moment, while the program's threads run
/// calls for us anyway (`late`: those have been made, and this one makes more).
void wait_for_rings(CaptureContext& context, const std::vector<int>& rings, bool late);

const image::Fields<RingMapping>& fields_of(const RingMapping* /*type*/);
const image::Fields<IoUring>& fields_of(const IoUring* /*type*/);

/// Makes the ring in the process, with its counters and its memory; returns its (temporary) number.
int make_io_uring(RestoreContext& inferior, const IoUring& ring);

/// What needs the final numbers and the program's memory: maps the ring where it was, registers
/// files and buffers. `number_of`: the descriptor of a description, if there is one.
void link_io_uring(RestoreContext& inferior, int fd, const IoUring& ring, const std::string& name,
                   const std::function<std::optional<int>(std::size_t)>& number_of);

/// For a ring with a thread of the kernel's (IORING_SETUP_SQPOLL), which would begin at once: has
/// it look at what waits to be submitted. The last thing before the program goes on.
void start_io_uring(RestoreContext& inferior, int fd, const IoUring& ring);

}  // namespace ckpt::state
