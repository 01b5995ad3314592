#include "recording/code_sites.hpp"

#include <elf.h>
#include <fcntl.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.hpp"
#include "base/io.hpp"

namespace ckpt::recording {

namespace {

// The functions of an ELF file as offsets in it, ascending, from .eh_frame_hdr (Linux Standard Base
// 5.0, Core, 10.6.2) and the entries of .eh_frame that it leads to.
class Functions {
 public:
  explicit Functions(const std::string& path);
  [[nodiscard]] bool known() const { return !ranges_.empty(); }
  [[nodiscard]] std::optional<arch::FunctionRange> at(std::uint64_t offset) const {
    auto found = std::upper_bound(ranges_.begin(), ranges_.end(), offset,
                                  [](std::uint64_t wanted, const arch::FunctionRange& range) {
                                    return wanted < range.begin;
                                  });
    if (found == ranges_.begin()) return std::nullopt;
    --found;
    return offset < found->end ? std::optional(*found) : std::nullopt;
  }

 private:
  template <typename T>
  bool read(std::uint64_t offset, std::span<T> into) const {
    return pread_exact(fd_.get(), std::as_writable_bytes(into), offset, path_);
  }
  [[nodiscard]] std::optional<std::uint64_t> offset_of(std::uint64_t address) const {
    for (const auto& segment : segments_)
      if (segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
          address - segment.p_vaddr < segment.p_filesz)
        return address - segment.p_vaddr + segment.p_offset;
    return std::nullopt;
  }
  void read_table(const Elf64_Phdr& table);
  void add_function(std::uint64_t begin, std::uint64_t entry);

  std::string path_;
  UniqueFd fd_;
  std::vector<Elf64_Phdr> segments_;
  std::vector<arch::FunctionRange> ranges_;
};

Functions::Functions(const std::string& path) : path_(path), fd_(open_file(path, O_RDONLY)) {
  Elf64_Ehdr header{};
  if (!read(0, std::span(&header, 1)) ||
      !std::equal(std::begin(header.e_ident), std::begin(header.e_ident) + SELFMAG, ELFMAG) ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr))
    return;
  segments_.resize(header.e_phnum);
  if (!read(header.e_phoff, std::span(segments_))) return;
  for (const auto& segment : segments_)
    if (segment.p_type == PT_GNU_EH_FRAME) read_table(segment);
}

void Functions::read_table(const Elf64_Phdr& table) {
  constexpr std::array<std::uint8_t, 4> kUsual = {1, 0x1b, 0x03, 0x3b};  // offsets of four bytes
  constexpr std::uint32_t kMostFunctions = 1U << 24U;
  struct {
    std::array<std::uint8_t, 4> form;
    std::int32_t frames;
    std::uint32_t count;
  } head{};
  if (!read(table.p_offset, std::span(&head, 1)) || head.form != kUsual ||
      head.count > kMostFunctions)
    return;
  std::vector<std::array<std::int32_t, 2>> entries(head.count);
  if (!read(table.p_offset + sizeof head, std::span(entries))) return;
  for (const auto& [function, entry] : entries)
    add_function(table.p_vaddr + static_cast<std::uint64_t>(std::int64_t{function}),
                 table.p_vaddr + static_cast<std::uint64_t>(std::int64_t{entry}));
}

void Functions::add_function(std::uint64_t begin, std::uint64_t entry) {
  struct {
    std::uint32_t length;
    std::uint32_t common;
    std::int32_t begin;  // from where it stands
    std::uint32_t size;
  } description{};
  const auto code_at = offset_of(begin);
  const auto entry_at = offset_of(entry);
  if (!code_at || !entry_at || !read(*entry_at, std::span(&description, 1))) return;
  if (entry + 8 + static_cast<std::uint64_t>(std::int64_t{description.begin}) != begin) return;
  ranges_.push_back({*code_at, *code_at + description.size});
}

}  // namespace

std::vector<arch::UnpredictableSite> find_sites(const tracee::Memory& memory,
                                                const proc::Mapping& mapping) {
  std::vector<std::byte> code(mapping.size());
  code.resize(memory.read_some(mapping.start, code));
  if (!arch::may_have_unpredictable(code)) return {};
  const Functions functions(mapping.path);
  if (!functions.known()) return arch::find_unpredictable(code, mapping.start, {});
  return arch::find_unpredictable(code, mapping.start, [&](Addr at) {
    auto range = functions.at(at - mapping.start + mapping.offset_bytes);
    if (range && range->begin < mapping.offset_bytes) range.reset();
    if (range) {
      range->begin -= mapping.offset_bytes;
      range->end -= mapping.offset_bytes;
    }
    return range;
  });
}

void Sites::insert(const tracee::Memory& memory,
                   const std::vector<arch::UnpredictableSite>& sites) {
  for (const auto& site : sites) {
    memory.write(site.at, arch::kBreakpointInstruction);
    sites_.insert_or_assign(site.at, site);
  }
}

const arch::UnpredictableSite* Sites::hit(Addr pc) const {
  const auto found = sites_.find(pc - arch::kBreakpointInstruction.size());
  return found == sites_.end() ? nullptr : &found->second;
}

void Sites::hide(Addr at, std::span<std::byte> bytes) const {
  const Addr end = at + bytes.size();
  for (auto site = sites_.lower_bound(at); site != sites_.end() && site->first < end; ++site) {
    auto& byte = bytes[site->first - at];
    // Something else may be mapped there by now.
    if (byte == arch::kBreakpointInstruction.front()) byte = site->second.original;
  }
}

void Sites::forget(Addr start, Addr end) {
  sites_.erase(sites_.lower_bound(start), sites_.lower_bound(end));
}

void Sites::remove_from(const tracee::Memory& memory) const {
  for (const auto& [at, site] : sites_) memory.write(at, std::span(&site.original, 1));
}

}  // namespace ckpt::recording
