// The vdso of another kernel: what is read of it, where its functions jump to, and the proxy
// itself, run in this process.
#include "state/memory/vdso.hpp"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "support.hpp"

namespace ckpt::state {
namespace {

using Bytes = std::vector<std::byte>;

struct Entry {
  std::string name;
  std::uint64_t offset;
};

template <typename T>
std::uint64_t append(Bytes& out, const T& value) {
  const std::uint64_t at = out.size();
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
  return at;
}

/// A vdso of one page, with a table of these functions.
Bytes make_vdso(const std::vector<Entry>& entries) {
  Bytes out;
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_shnum = 3;
  append(out, head);
  std::string names(1, '\0');
  std::vector<Elf64_Sym> symbols(1);
  for (const auto& entry : entries) {
    Elf64_Sym symbol{};
    symbol.st_name = static_cast<Elf64_Word>(names.size());
    symbol.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC);
    symbol.st_value = entry.offset;
    symbols.push_back(symbol);
    names += entry.name + '\0';
  }
  Elf64_Shdr strings{};
  strings.sh_type = SHT_STRTAB;
  strings.sh_offset = out.size();
  strings.sh_size = names.size();
  for (const char byte : names) out.push_back(static_cast<std::byte>(byte));
  Elf64_Shdr table{};
  table.sh_type = SHT_DYNSYM;
  table.sh_link = 1;
  table.sh_offset = out.size();
  table.sh_size = symbols.size() * sizeof(Elf64_Sym);
  for (const auto& symbol : symbols) append(out, symbol);
  head.e_shoff = append(out, Elf64_Shdr{});
  append(out, strings);
  append(out, table);
  std::memcpy(out.data(), &head, sizeof head);
  out.resize(kPageSize);
  return out;
}

proc::Mapping mapping(const std::string& path, std::uint64_t start, std::uint64_t pages) {
  proc::Mapping map;
  map.path = path;
  map.start = Addr{start};
  map.end = map.start + pages * kPageSize;
  map.read = true;
  map.exec = path == "[vdso]";
  return map;
}

KernelPages old_pages() {
  KernelPages pages;
  pages.pages = {mapping("[vvar]", 0x7fff00000000, 4), mapping("[vdso]", 0x7fff00004000, 1)};
  pages.vdso = make_vdso({{"__vdso_time", 0x800},
                          {"time", 0x800},
                          {"__vdso_getrandom", 0x900},
                          {"__vdso_clock_gettime", 0xa00},
                          {"__vdso_of_old", 0xb00}});
  return pages;
}

TEST(Vdso, ItsFunctionsAreFound) {
  const auto functions = vdso_functions(old_pages().vdso);
  ASSERT_EQ(functions.size(), 4U);
  EXPECT_EQ(functions[0].name, "__vdso_time");
  EXPECT_EQ(functions[0].offset, 0x800U);
  EXPECT_EQ(functions[0].room_bytes, 0x100U);
  EXPECT_EQ(functions[3].name, "__vdso_of_old");
  EXPECT_EQ(functions[3].room_bytes, 0x500U);
}

TEST(Vdso, TheRunningKernelsIsUnderstood) {
  const auto at = ::getauxval(AT_SYSINFO_EHDR);
  if (at == 0) GTEST_SKIP() << "this kernel maps no vdso";
  // NOLINTNEXTLINE(performance-no-int-to-ptr): our own mapping
  const auto* first = reinterpret_cast<const std::byte*>(at);
  const auto functions = vdso_functions({first, 2 * kPageSize});
  const auto has = [&](std::string_view name) {
    return std::any_of(functions.begin(), functions.end(),
                       [&](const auto& function) { return function.name == name; });
  };
  EXPECT_TRUE(has("__vdso_clock_gettime"));
  EXPECT_TRUE(has("__vdso_gettimeofday"));
  for (const auto& function : functions) EXPECT_GE(function.room_bytes, kVdsoJumpBytes);
}

TEST(Vdso, WhateverMakesNoSenseIsLeftOut) {
  const Bytes good = old_pages().vdso;
  EXPECT_TRUE(vdso_functions({}).empty());
  EXPECT_TRUE(vdso_functions(make_vdso({{"__vdso_time", 0}, {"__vdso_time", kPageSize}})).empty());
  for (std::size_t size = 0; size < good.size(); size += 7)
    for (const auto& function : vdso_functions(std::span(good).first(size)))
      EXPECT_LT(function.offset, size);
  for (std::size_t at = 0; at < 1024; ++at) {
    for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0xffU}) {
      Bytes bad = good;
      bad[at] = static_cast<std::byte>(value);
      for (const auto& function : vdso_functions(bad)) {
        EXPECT_LT(function.offset, bad.size());
        EXPECT_LE(function.offset + function.room_bytes, bad.size());
      }
    }
  }
}

TEST(Vdso, OthersAreToldBySizePlaceAndBytes) {
  const KernelPages one = old_pages();
  EXPECT_TRUE(same_kernel_pages(one, one));
  KernelPages moved = one;
  for (auto& page : moved.pages) page.start = page.start + 0x10000, page.end = page.end + 0x10000;
  EXPECT_TRUE(same_kernel_pages(one, moved));
  KernelPages apart = one;
  apart.pages[1].start = apart.pages[1].start + 0x1000;
  apart.pages[1].end = apart.pages[1].end + 0x1000;
  EXPECT_FALSE(same_kernel_pages(one, apart));
  KernelPages other = one;
  other.vdso[3000] = std::byte{1};
  EXPECT_FALSE(same_kernel_pages(one, other));
  KernelPages fewer = one;
  fewer.pages.erase(fewer.pages.begin());
  EXPECT_FALSE(same_kernel_pages(one, fewer));
}

TEST(Vdso, EachFunctionLeadsToItsCounterpartOrToACall) {
  const KernelPages saved = old_pages();
  const VdsoProxy proxy = plan_vdso_proxy(saved, "6.1", Addr{0x20000000});
  const Bytes own = make_vdso({{"__vdso_getrandom", 0x100}, {"__vdso_time", 0x200}});
  const auto jumps = plan_jumps(proxy, saved.vdso, own, Addr{0x30000000});
  ASSERT_EQ(jumps.size(), 4U);
  EXPECT_EQ(jumps[0].offset, 0x800U);
  EXPECT_EQ(jumps[0].target, Addr{0x30000200});
  const auto in_header = [&](Addr at) {
    return at >= proxy.header && at < proxy.header + kPageSize;
  };
  // Its states are those of one kernel's function.
  EXPECT_TRUE(in_header(jumps[1].target));
  EXPECT_TRUE(in_header(jumps[2].target));
  EXPECT_TRUE(in_header(jumps[3].target));
}

TEST(Vdso, AFunctionWithoutRoomIsNamed) {
  KernelPages saved = old_pages();
  saved.vdso = make_vdso({{"__vdso_time", 0x800}, {"__vdso_getcpu", 0x80c}});
  const VdsoProxy proxy = plan_vdso_proxy(saved, "6.1", Addr{0x20000000});
  test::expect_error([&] { plan_jumps(proxy, saved.vdso, {}, Addr{}); }, ErrorKind::unsupported,
                     "__vdso_time of the vdso that it was saved with (Linux 6.1)");
}

TEST(Vdso, PagesThatNoKernelHasAreRefused) {
  const auto expect_refused = [](const KernelPages& pages) {
    test::expect_error([&] { plan_vdso_proxy(pages, "6.1", Addr{0x1000}); }, ErrorKind::unsupported,
                       "Linux 6.1");
  };
  KernelPages apart = old_pages();
  apart.pages[0].start = Addr{0x1000};
  expect_refused(apart);
  KernelPages no_vdso = old_pages();
  no_vdso.pages.pop_back();
  expect_refused(no_vdso);
  KernelPages others = old_pages();
  others.pages[0].path = "[heap]";
  expect_refused(others);
}

TEST(Vdso, AProxyIsFoundAgain) {
  const VdsoProxy proxy = plan_vdso_proxy(old_pages(), "6.1.0-56-cloud-amd64", Addr{0x20000000});
  const Bytes page = proxy_page(proxy);
  const auto found = read_vdso_proxy(page, proxy.header);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->kernel, proxy.kernel);
  EXPECT_EQ(found->copy, proxy.copy);
  EXPECT_EQ(found->vdso(), proxy.vdso());
  EXPECT_EQ(found->pages[0].path, "[vvar]");
  EXPECT_FALSE(found->pages[0].exec);
  EXPECT_TRUE(found->pages[1].exec);
  EXPECT_EQ(proxy.from_copy(proxy.in_copy(Addr{0x7fff00004123})), Addr{0x7fff00004123});
  EXPECT_FALSE(read_vdso_proxy(page, proxy.header + kPageSize)) << "not where it says that it is";
  EXPECT_FALSE(read_vdso_proxy(std::span(page).first(100), proxy.header));
  // A program may have written anything there.
  for (std::size_t at = 0; at < sizeof(VdsoProxyHeader); ++at) {
    Bytes bad = page;
    bad[at] ^= std::byte{0xff};
    const auto read = read_vdso_proxy(bad, proxy.header);
    if (read) {
      EXPECT_LE(read->whole().size(), 2U << 20U) << at;
    }
  }
}

TEST(Vdso, OnlyAPlaceBehindAFunctionsFirstByteIsWithinAJump) {
  const KernelPages saved = old_pages();
  const VdsoProxy proxy = plan_vdso_proxy(saved, "6.1", Addr{0x20000000});
  const Addr entry = proxy.vdso().start + 0x800;
  struct Row {
    Addr pc;
    bool within;
  };
  for (const Row& row :
       {Row{entry - 1, false}, Row{entry, false}, Row{entry + 1, true}, Row{entry + 12, true},
        Row{entry + 13, false}, Row{Addr{0x800}, false}, Row{proxy.in_copy(entry) + 4, false}})
    EXPECT_EQ(is_within_jump(proxy, saved.vdso, row.pc), row.within) << fmt::format("{}", row.pc);
}

TEST(Vdso, ASaveMakesKernelPagesOfThemAgain) {
  const VdsoProxy proxy = plan_vdso_proxy(old_pages(), "6.1", Addr{0x20000000});
  AddressSpace space;
  Region kernel;
  kernel.backing = Backing::kernel;
  for (const auto& page : proxy.pages) {
    kernel.mapping = page;
    space.regions.push_back(kernel);
  }
  AddressSpace own = with_own_kernel_pages(space);
  for (const auto& region : own.regions) EXPECT_EQ(region.backing, Backing::anonymous);
  // The kernel may have made one mapping of two, and of memory beside them.
  own.regions[0].mapping.start = own.regions[0].mapping.start - 2 * kPageSize;
  own.regions[0].stored = {
      {own.regions[0].mapping.start, own.regions[0].mapping.start + kPageSize}};
  return_kernel_pages(own, proxy);
  ASSERT_EQ(own.regions.size(), 3U);
  EXPECT_EQ(own.regions[0].backing, Backing::anonymous);
  EXPECT_EQ(own.regions[0].mapping.size(), 2 * kPageSize);
  EXPECT_EQ(own.regions[0].stored.size(), 1U);
  EXPECT_EQ(own.regions[1].backing, Backing::kernel);
  EXPECT_TRUE(own.regions[1].stored.empty());
  EXPECT_EQ(own.regions[2].backing, Backing::kernel);
  EXPECT_EQ(own.regions[2].stored.size(), 1U);
  // What the program has unmapped does not come back.
  own = with_own_kernel_pages(space);
  own.regions.pop_back();
  return_kernel_pages(own, proxy);
  EXPECT_EQ(own.regions.size(), 1U);
  EXPECT_EQ(own.regions[0].backing, Backing::kernel);
}

/// A proxy as a restore makes it, in this process.
class LiveProxy {
 public:
  explicit LiveProxy(const KernelPages& saved) {
    const auto bytes = proxy_bytes(saved);
    memory_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    proxy = plan_vdso_proxy(saved, "6.1", Addr{reinterpret_cast<std::uint64_t>(memory_)});
    write(proxy.header, proxy_page(proxy));
    ::mprotect(memory_, bytes, PROT_READ | PROT_EXEC);
  }
  LiveProxy(LiveProxy&&) = delete;
  ~LiveProxy() { ::munmap(memory_, proxy.whole().size()); }

  VdsoProxy proxy;

 private:
  static void write(Addr at, const Bytes& bytes) {
    // NOLINTNEXTLINE(performance-no-int-to-ptr): our own mapping
    std::memcpy(reinterpret_cast<void*>(at.value), bytes.data(), bytes.size());
  }
  void* memory_ = nullptr;
};

template <typename Function>
Function* function_at(Addr at) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): our own mapping
  return reinterpret_cast<Function*>(at.value);
}

TEST(Vdso, WhatHasNoCounterpartMakesTheCallItself) {
  const KernelPages saved = old_pages();
  const LiveProxy live(saved);
  const auto jumps = plan_jumps(live.proxy, saved.vdso, {}, Addr{});
  auto* time_of = function_at<long(std::time_t*)>(jumps[0].target);
  std::time_t told = 0;
  const std::time_t before = std::time(nullptr);
  EXPECT_GE(time_of(&told), before);
  EXPECT_GE(told, before);

  auto* clock = function_at<int(int, timespec*)>(jumps[2].target);
  timespec now{};
  EXPECT_EQ(clock(CLOCK_MONOTONIC, &now), 0);
  EXPECT_GT(now.tv_sec + now.tv_nsec, 0);
  EXPECT_EQ(clock(99, &now), -EINVAL);

  auto* random =
      function_at<long(void*, std::size_t, unsigned, void*, std::size_t)>(jumps[1].target);
  Bytes bytes(64);
  Bytes state(256);
  EXPECT_EQ(random(bytes.data(), bytes.size(), 0, state.data(), state.size()), 64);
  EXPECT_NE(bytes, Bytes(64));
  EXPECT_EQ(state, Bytes(256)) << "states are for one kernel's function alone";
  EXPECT_EQ(random(nullptr, 0, 0, state.data(), ~std::size_t{0}), -ENOSYS);

  EXPECT_EQ(function_at<int()>(jumps[3].target)(), -ENOSYS);
}

TEST(Vdso, AJumpArrivesWithItsArguments) {
  auto* page =
      ::mmap(nullptr, kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const auto code = jump_code(Addr{reinterpret_cast<std::uint64_t>(&std::difftime)});
  std::memcpy(page, code.data(), code.size());
  ::mprotect(page, kPageSize, PROT_READ | PROT_EXEC);
  auto* difference =
      function_at<double(std::time_t, std::time_t)>(Addr{reinterpret_cast<std::uint64_t>(page)});
  EXPECT_EQ(difference(50, 8), 42.0);
  ::munmap(page, kPageSize);
}

}  // namespace
}  // namespace ckpt::state
