// Huge pages that a program has asked for by name (hugetlbfs): MFD_HUGETLB, MAP_HUGETLB. What the
// kernel makes huge by itself (transparent huge pages) is not a state.
//
// They come from a pool of the machine, which may be empty at the restore: then ordinary pages
// hold the same bytes, and the restore says so. A page that cannot be had at a store means SIGBUS,
// so all that the program could touch before must be reserved when it goes on, as mmap(2) does it
// (Documentation/mm/hugetlbfs_reserv.rst): for a file in the file, when it is mapped shared; for
// private memory in the mapping.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "image/format.hpp"

namespace ckpt::state {

struct KeptFile;

/// The page size of an open file that is in a hugetlbfs; 0 for any other.
std::uint64_t huge_page_bytes_of(int fd);

/// Throws Error (damaged) for a size that no kernel has; 0 is none.
void check_huge_page(std::uint64_t bytes);

/// The size as mmap(2) and memfd_create(2) take it in their flags; 0 leaves it to the kernel.
std::uint64_t huge_page_flags(std::uint64_t page_bytes) noexcept;

/// A memfd of huge pages with the content of `source`, all of it reserved. Nothing if there are not
/// enough free pages of this size. Throws Error when the content cannot be read.
UniqueFd make_huge_memfd(const KeptFile& file, const std::string& source, unsigned flags);

/// "WHAT has ordinary pages instead of ...", with what to do.
std::string ordinary_pages_note(const std::string& what, std::uint64_t page_bytes);

/// A file's own pages could be had, but not those for a mapping of it.
class NoHugePages : public Error {
 public:
  NoHugePages(std::string text, const KeptFile& file)
      : Error(ErrorKind::system, std::move(text), ENOMEM), file_(&file) {}
  /// Valid as long as the snapshot.
  [[nodiscard]] const KeptFile& file() const noexcept { return *file_; }

 private:
  const KeptFile* file_;
};

}  // namespace ckpt::state
