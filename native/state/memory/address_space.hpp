// The address space: what is mapped where, which pages have bytes of their own, and the kernel's
// notion of heap, stack, arguments and auxiliary vector (struct mm_struct).
//
// Capture: examine() decides what each mapping is and which pages must be stored;
// plan_segments() lays them out as a core file; write_pages() moves the bytes.
// Restore: map_regions() makes the mappings in an emptied process, fill_memory() reads the bytes
// into fresh memory of the right kind, apply_protections() gives them their final protections and
// advice. Anonymous memory comes back anonymous: mapping the image instead would be faster and
// wrong, since madvise(MADV_DONTNEED) would bring the saved bytes back where the program expects
// zeros.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "image/fields.hpp"
#include "image/writer.hpp"
#include "proc/maps.hpp"
#include "proc/pagemap.hpp"
#include "state/context.hpp"
#include "state/files/kept_file.hpp"
#include "state/ipc/sysv_shm.hpp"
#include "state/memory/memory_policy.hpp"
#include "tracee/remote.hpp"

namespace ckpt::state {

enum class Backing {
  anonymous,         // private memory, or memory whose file cannot be had any more
  private_file,      // MAP_PRIVATE of a regular file
  shared_file,       // MAP_SHARED of a regular file
  shared_anonymous,  // MAP_SHARED memory with no name: also System V and, see the report, memfd
  kernel,            // vdso and vvar
  lost,              // devices and the like: comes back inaccessible
};

/// Memory that several mappings show, also of several processes.
struct SharedMemory {
  std::string name;  // as the kernel tells it from others
};

struct Region {
  proc::Mapping mapping;
  Backing backing = Backing::anonymous;
  std::optional<KeptFile> file;
  std::optional<SysvSegment> segment;
  std::optional<std::size_t> shared;  // of shared_anonymous: which of all shared memory
  bool first_page_is_extra = false;   // stored for tools only: the restore takes it from the file
  std::vector<proc::PageRun> stored;
  std::vector<proc::PageRun> guards;
  MemoryPolicy policy;
};

/// prctl(PR_SET_MM_MAP): the bounds that /proc and the kernel use.
struct MemoryBounds {
  Addr start_code, end_code, start_data, end_data, start_brk, brk, start_stack;
  Addr arg_start, arg_end, env_start, env_end;
};

struct AddressSpace {
  std::vector<Region> regions;
  MemoryBounds bounds;
  std::vector<std::byte> auxv;
  std::string vdso_kernel;  // the release that the vdso is of; snapshots of earlier versions: empty
};

/// The regions of one shared object, in ascending order.
std::vector<const Region*> regions_sharing(const AddressSpace& space, std::size_t shared);
/// Whether they lie side by side as in the object, from its beginning: one mmap() makes them all.
bool is_in_one_piece(const std::vector<const Region*>& group);

/// Classifies all mappings of a stopped process and keeps the files' contents in the store.
/// `resident`: tells which pages of a shared mapping have content (see shared_pages()).
using ResidentPages = std::function<std::vector<proc::PageRun>(const proc::Mapping&)>;
/// Adds to `shared` what memory the process may share.
AddressSpace examine(CaptureContext& context, const ResidentPages& resident, Addr brk,
                     std::vector<SharedMemory>& shared);

/// Adds the memory policies (NUMA) of the regions. `main`: the main thread's.
void note_memory_policies(const CaptureContext& context, AddressSpace& space,
                          const MemoryPolicy& main);

/// Which pages of a shared mapping exist in its object, by mincore(2) run in the process itself.
std::vector<proc::PageRun> shared_pages(tracee::Inferior& inferior, const proc::Mapping& mapping);

std::vector<image::Segment> plan_segments(const AddressSpace& space);

/// Reads, checks for zeros, hashes and writes all stored pages. May be called on a thread that is
/// not the tracer. Returns what stands in the file.
std::vector<image::Extent> write_pages(const AddressSpace& space, CaptureContext& context,
                                       image::Writer& writer,
                                       const std::vector<image::Segment>& segments);

const image::Fields<Region>& fields_of(const Region* /*type*/);
const image::Fields<MemoryBounds>& fields_of(const MemoryBounds* /*type*/);
const image::Fields<AddressSpace>& fields_of(const AddressSpace* /*type*/);
const image::Fields<SharedMemory>& fields_of(const SharedMemory* /*type*/);

/// Where a scratch area of `size_bytes` is not in the way, neither before nor after.
Addr find_free_place(const std::vector<proc::Mapping>& now, const AddressSpace& space,
                     std::uint64_t size_bytes);

/// Restore, step 1: unmaps everything of the fresh program but scratch and the kernel's pages, and
/// moves these to where they were, or to `stay`.
void clear_and_move_kernel_pages(tracee::Inferior& inferior, const std::vector<proc::Mapping>& now,
                                 const AddressSpace& space, std::optional<Addr> stay);

/// Descriptors, in the program being restored, of the files that regions map; by region index.
using MappedFiles = std::map<std::size_t, int>;

/// Step 2: makes all mappings, those with stored pages writable for now.
void map_regions(RestoreContext& inferior, const AddressSpace& space, const MappedFiles& files,
                 const std::vector<image::Extent>& extents);

/// Step 3: reads the pages from the image, open in the program as `image_fd`.
void fill_memory(tracee::Inferior& inferior, const AddressSpace& space,
                 const std::vector<image::Extent>& extents, int image_fd);

/// Names the anonymous memory that the program had named, as far as this kernel knows names.
void restore_names(tracee::Inferior& inferior, const AddressSpace& space);

/// Sets the memory policies (NUMA) of the regions, before their pages are filled.
void restore_memory_policies(RestoreContext& inferior, const AddressSpace& space);

/// Step 4: final protections, advice, guard pages, locks, and the bounds.
void apply_protections(RestoreContext& inferior, const AddressSpace& space,
                       const std::vector<image::Extent>& extents);

}  // namespace ckpt::state
