#include "state/memory/vdso.hpp"

#include <elf.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "arch/code.hpp"
#include "base/error.hpp"

namespace ckpt::state {

namespace {

constexpr std::string_view kVdso = "[vdso]";
constexpr std::string_view kPrefix = "__vdso_";
constexpr std::uint64_t kMagic = 0x6f73647674706b63;  // "ckptvdso"
constexpr std::uint64_t kMostPagesBytes = 1U << 20U;  // of all pages together
constexpr std::size_t kMostFunctions = 256;
// The calls behind the jumps, in the header's page.
constexpr std::uint64_t kCallsAt = 2048;
constexpr std::uint64_t kCallBytes = 32;
static_assert(sizeof(VdsoProxyHeader) <= kCallsAt);

// The C libraries go on with the system call when a function says ENOSYS.
constexpr std::array<std::pair<std::string_view, std::uint32_t>, 6> kCalls = {{
    {"", 0},  // of which no call is known
    {"__vdso_clock_gettime", SYS_clock_gettime},
    {"__vdso_gettimeofday", SYS_gettimeofday},
    {"__vdso_clock_getres", SYS_clock_getres},
    {"__vdso_time", arch::kSysTime},
    {"__vdso_getcpu", SYS_getcpu},
}};
// Its callers hold states that they have made for the functions of one kernel, of a size that only
// this one knows; and a caller that asks for the size (the last argument is -1) is told that there
// is no such function.
constexpr std::string_view kRandom = "__vdso_getrandom";

template <typename T>
std::optional<T> read_at(std::span<const std::byte> bytes, std::uint64_t at) {
  if (at > bytes.size() || bytes.size() - at < sizeof(T)) return std::nullopt;
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::string text_at(std::span<const std::byte> bytes, std::uint64_t at) {
  constexpr std::size_t kLongest = 64;
  std::string text;
  for (; at < bytes.size() && text.size() < kLongest && bytes[at] != std::byte{0}; ++at)
    text += static_cast<char>(bytes[at]);
  return text;
}

// A vdso has section headers, for debuggers, and is linked at 0.
template <typename Found>
void for_each_function(std::span<const std::byte> vdso, const Found& found) {
  const auto head = read_at<Elf64_Ehdr>(vdso, 0);
  if (!head || std::memcmp(head->e_ident, ELFMAG, SELFMAG) != 0) return;
  const auto section = [&](std::uint64_t index) -> std::optional<Elf64_Shdr> {
    if (index >= head->e_shnum || head->e_shoff > vdso.size()) return std::nullopt;
    return read_at<Elf64_Shdr>(vdso, head->e_shoff + index * sizeof(Elf64_Shdr));
  };
  for (std::uint64_t i = 0; i < head->e_shnum; ++i) {
    const auto symbols = section(i);
    if (!symbols || symbols->sh_type != SHT_DYNSYM) continue;
    const auto names = section(symbols->sh_link);
    if (!names || names->sh_offset > vdso.size() || symbols->sh_offset > vdso.size()) continue;
    const std::uint64_t count = std::min<std::uint64_t>(symbols->sh_size / sizeof(Elf64_Sym),
                                                        vdso.size() / sizeof(Elf64_Sym));
    // A vdso has one such section; an untrusted file may have thousands.
    for (std::uint64_t n = 0; n < count; ++n) {
      const auto symbol = read_at<Elf64_Sym>(vdso, symbols->sh_offset + n * sizeof(Elf64_Sym));
      if (!symbol || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC) continue;
      if (symbol->st_value == 0 || symbol->st_value >= vdso.size()) continue;
      found(text_at(vdso, names->sh_offset + symbol->st_name), symbol->st_value);
    }
    return;
  }
}

// In the order of kCalls, then getrandom's.
std::uint64_t call_index(std::string_view name) {
  if (name == kRandom) return kCalls.size();
  for (std::size_t i = 1; i < kCalls.size(); ++i)
    if (kCalls.at(i).first == name) return i;
  return 0;
}

std::uint64_t flags_of(const proc::Mapping& page) {
  return (page.read ? PF_R : 0U) | (page.write ? PF_W : 0U) | (page.exec ? PF_X : 0U);
}

}  // namespace

const proc::Mapping* KernelPages::vdso_page() const {
  for (const auto& page : pages)
    if (page.path == kVdso) return &page;
  return nullptr;
}

proc::PageRun KernelPages::span() const {
  return pages.empty() ? proc::PageRun{} : proc::PageRun{pages.front().start, pages.back().end};
}

bool same_kernel_pages(const KernelPages& saved, const KernelPages& own) {
  // By place: code finds its data by the distance.
  const auto alike = [&](const proc::Mapping& a, const proc::Mapping& b) {
    return a.path == b.path && a.size() == b.size() &&
           a.start - saved.span().start == b.start - own.span().start;
  };
  return saved.vdso == own.vdso && std::equal(saved.pages.begin(), saved.pages.end(),
                                              own.pages.begin(), own.pages.end(), alike);
}

std::vector<VdsoFunction> vdso_functions(std::span<const std::byte> vdso) {
  std::map<std::uint64_t, std::string> found;
  for_each_function(vdso, [&](const std::string& name, std::uint64_t offset) {
    if (found.size() < kMostFunctions && name.starts_with(kPrefix)) found.emplace(offset, name);
  });
  std::vector<VdsoFunction> functions;
  for (auto at = found.begin(); at != found.end(); ++at) {
    const auto next = std::next(at);
    const std::uint64_t end = next == found.end() ? vdso.size() : next->first;
    functions.push_back({at->second, at->first, end - at->first});
  }
  return functions;
}

proc::PageRun VdsoProxy::old() const { return {pages.front().start, pages.back().end}; }

proc::PageRun VdsoProxy::vdso() const {
  for (const auto& page : pages)
    if (page.path == kVdso) return {page.start, page.end};
  return {};
}

std::uint64_t proxy_bytes(const KernelPages& saved) { return saved.span().size() + kPageSize; }

VdsoProxy plan_vdso_proxy(const KernelPages& saved, const std::string& kernel, Addr start) {
  const bool known = std::all_of(saved.pages.begin(), saved.pages.end(), [](const auto& page) {
    return page.is_kernel_special() && page.path.size() < sizeof VdsoProxyHeader::Page::path;
  });
  if (saved.pages.size() > std::tuple_size_v<decltype(VdsoProxyHeader::page)> || !known ||
      saved.span().size() > kMostPagesBytes || saved.vdso_page() == nullptr)
    fail(ErrorKind::unsupported,
         "the pages of the kernel that it was saved under (Linux {}) have a layout of no known "
         "kernel: restore under that kernel",
         kernel);
  VdsoProxy proxy;
  proxy.kernel = kernel.substr(0, sizeof VdsoProxyHeader::kernel - 1);
  proxy.pages = saved.pages;
  proxy.copy = {start, start + saved.span().size()};
  proxy.header = proxy.copy.end;
  return proxy;
}

std::vector<std::byte> proxy_page(const VdsoProxy& proxy) {
  VdsoProxyHeader header{};
  header.magic = kMagic;
  header.self = proxy.header.value;
  header.pages = proxy.pages.size();
  proxy.kernel.copy(header.kernel.data(), header.kernel.size() - 1);
  for (std::size_t i = 0; i < proxy.pages.size(); ++i) {
    const proc::Mapping& page = proxy.pages[i];
    page.path.copy(header.page.at(i).path.data(), sizeof VdsoProxyHeader::Page::path - 1);
    header.page.at(i).start = page.start.value;
    header.page.at(i).end = page.end.value;
    header.page.at(i).flags = flags_of(page);
  }
  std::vector<std::byte> bytes(kPageSize);
  std::memcpy(bytes.data(), &header, sizeof header);
  const auto put = [&](std::uint64_t index, const std::vector<std::byte>& code) {
    std::copy(code.begin(), code.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(kCallsAt + index * kCallBytes));
  };
  put(0, arch::function_of_nothing());
  for (std::size_t i = 1; i < kCalls.size(); ++i)
    put(i, arch::function_of_syscall(kCalls.at(i).second));
  put(kCalls.size(), arch::function_of_getrandom());
  return bytes;
}

std::optional<VdsoProxy> read_vdso_proxy(std::span<const std::byte> page, Addr at) {
  const auto header = read_at<VdsoProxyHeader>(page, 0);
  if (!header || header->magic != kMagic || header->self != at.value) return std::nullopt;
  if (header->pages == 0 || header->pages > header->page.size()) return std::nullopt;
  VdsoProxy proxy;
  proxy.kernel = text_at(std::as_bytes(std::span(header->kernel)), 0);
  Addr from;
  for (std::uint64_t i = 0; i < header->pages; ++i) {
    const auto& one = header->page.at(i);
    proc::Mapping made;
    made.path = text_at(std::as_bytes(std::span(one.path)), 0);
    made.start = Addr{one.start};
    made.end = Addr{one.end};
    made.read = (one.flags & PF_R) != 0;
    made.write = (one.flags & PF_W) != 0;
    made.exec = (one.flags & PF_X) != 0;
    if (!made.is_kernel_special() || made.start < from || made.start >= made.end ||
        made.start.value % kPageSize != 0 || made.end.value % kPageSize != 0)
      return std::nullopt;
    from = made.end;
    proxy.pages.push_back(std::move(made));
  }
  const std::uint64_t size = proxy.old().size();
  if (size > kMostPagesBytes || at.value < size || proxy.vdso().size() == 0) return std::nullopt;
  proxy.copy = {at - size, at};
  proxy.header = at;
  return proxy;
}

std::vector<VdsoJump> plan_jumps(const VdsoProxy& proxy, std::span<const std::byte> saved,
                                 std::span<const std::byte> own, Addr own_at) {
  const auto counterparts = vdso_functions(own);
  std::vector<VdsoJump> jumps;
  for (const auto& function : vdso_functions(saved)) {
    if (function.room_bytes < kVdsoJumpBytes)
      fail(ErrorKind::unsupported,
           "the function {} of the vdso that it was saved with (Linux {}) is too short for a jump "
           "to "
           "this kernel's: restore under that kernel",
           function.name, proxy.kernel);
    const auto same = std::find_if(counterparts.begin(), counterparts.end(),
                                   [&](const auto& one) { return one.name == function.name; });
    const bool redirected = same != counterparts.end() && function.name != kRandom;
    jumps.push_back({function.offset, redirected ? own_at + same->offset
                                                 : proxy.header + kCallsAt +
                                                       call_index(function.name) * kCallBytes});
  }
  return jumps;
}

std::array<std::byte, kVdsoJumpBytes> jump_code(Addr target) { return arch::far_jump(target); }

bool is_within_jump(const VdsoProxy& proxy, std::span<const std::byte> saved, Addr pc) {
  const proc::PageRun vdso = proxy.vdso();
  if (pc < vdso.start || pc >= vdso.end) return false;
  const auto functions = vdso_functions(saved);
  return std::any_of(functions.begin(), functions.end(), [&](const VdsoFunction& function) {
    const Addr entry = vdso.start + function.offset;
    return pc > entry && pc < entry + kVdsoJumpBytes;
  });
}

AddressSpace with_own_kernel_pages(const AddressSpace& space) {
  AddressSpace own = space;
  for (Region& region : own.regions) {
    if (region.backing != Backing::kernel) continue;
    region.backing = Backing::anonymous;
    region.mapping.flags.clear();
  }
  return own;
}

namespace {

// The part of a region that lies in [start, end).
Region part_of(const Region& region, Addr start, Addr end) {
  Region part = region;
  part.mapping.start = start;
  part.mapping.end = end;
  for (auto* runs : {&part.stored, &part.guards}) {
    for (auto& run : *runs) run = {std::max(run.start, start), std::min(run.end, end)};
    std::erase_if(*runs, [](const proc::PageRun& run) { return run.start >= run.end; });
  }
  return part;
}

std::vector<Region> with_kernel_page(const std::vector<Region>& regions,
                                     const proc::Mapping& page) {
  std::vector<Region> out;
  std::uint64_t covered = 0;
  for (const Region& region : regions) {
    const proc::Mapping& map = region.mapping;
    if (map.end <= page.start || map.start >= page.end || region.backing != Backing::anonymous) {
      out.push_back(region);
      continue;
    }
    covered += std::min(map.end, page.end) - std::max(map.start, page.start);
    if (map.start < page.start) out.push_back(part_of(region, map.start, page.start));
    if (map.end > page.end) out.push_back(part_of(region, page.end, map.end));
  }
  if (covered != page.size()) return regions;  // the program has unmapped it
  Region region;
  region.mapping = page;
  region.backing = Backing::kernel;
  if (page.path == kVdso) region.stored = {{page.start, page.end}};
  out.push_back(std::move(region));
  std::sort(out.begin(), out.end(),
            [](const Region& a, const Region& b) { return a.mapping.start < b.mapping.start; });
  return out;
}

}  // namespace

void return_kernel_pages(AddressSpace& space, const VdsoProxy& proxy) {
  for (const proc::Mapping& page : proxy.pages)
    space.regions = with_kernel_page(space.regions, page);
}

}  // namespace ckpt::state
