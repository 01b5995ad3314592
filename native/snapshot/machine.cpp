#include "snapshot/machine.hpp"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/process_dir.hpp"
#include "proc/text.hpp"

namespace ckpt::snapshot {

namespace {

using image::Json;

// Flags of /proc/cpuinfo that stand for instructions a program may have chosen at its start (glibc
// picks its memcpy once). Flags about power, virtualization and the like are not the program's.
bool is_instruction_set(const std::string& flag) {
  constexpr std::array<std::string_view, 22> kPrefixes = {
      "sse",    "ssse", "avx",   "amx_",  "bmi",  "fma",    "aes",    "vaes",
      "sha",    "gfni", "vpcl",  "pclm",  "movb", "movdir", "popcnt", "rdrand",
      "rdseed", "f16c", "fsgsb", "xsave", "cx16", "clwb"};
  constexpr std::array<std::string_view, 18> kExact = {
      "mmx",     "adx",      "abm",       "lzcnt",      "erms",       "fsrm",
      "rdpid",   "rdtscp",   "serialize", "clflushopt", "pku",        "ospke",
      "lahf_lm", "cldemote", "waitpkg",   "xgetbv1",    "user_shstk", "3dnowprefetch"};
  return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [&](std::string_view prefix) { return flag.starts_with(prefix); }) ||
         std::find(kExact.begin(), kExact.end(), flag) != kExact.end();
}

std::vector<std::string> processor_features() {
  std::vector<std::string> features;
  const auto text = try_read_file("/proc/cpuinfo");
  if (!text) return features;
  std::string_view rest = *text;
  while (!rest.empty()) {
    std::string_view line = proc::cut(rest, '\n');
    if (!line.starts_with("flags")) continue;
    proc::cut(line, ':');
    for (auto word = proc::next_word(line); !word.empty(); word = proc::next_word(line))
      if (is_instruction_set(std::string(word))) features.emplace_back(word);
    break;
  }
  std::sort(features.begin(), features.end());
  return features;
}

struct KernelPages {
  std::vector<std::pair<std::string, std::uint64_t>> layout;  // name, bytes; in address order
  std::vector<std::byte> vdso;
};

KernelPages own_kernel_pages() {
  KernelPages pages;
  for (const auto& mapping : proc::ProcessDir(::getpid()).mappings()) {
    if (!mapping.is_kernel_special() || mapping.path == "[vsyscall]") continue;
    pages.layout.emplace_back(mapping.path, mapping.size());
    if (mapping.path == "[vdso]") {
      pages.vdso.resize(mapping.size());
      // NOLINTNEXTLINE(performance-no-int-to-ptr): our own mapping
      std::memcpy(pages.vdso.data(), reinterpret_cast<const void*>(mapping.start.value),
                  mapping.size());
    }
  }
  return pages;
}

KernelPages saved_kernel_pages(const image::Reader& reader, const state::AddressSpace& space) {
  KernelPages pages;
  for (const auto& region : space.regions) {
    if (region.backing != state::Backing::kernel) continue;
    pages.layout.emplace_back(region.mapping.path, region.mapping.size());
    if (region.mapping.path != "[vdso]") continue;
    if (region.mapping.size() > (1U << 20U)) image::damaged("the size of the vdso");
    pages.vdso.resize(region.mapping.size());
    for (const auto& extent : reader.extents()) {
      if (extent.start < region.mapping.start || extent.start >= region.mapping.end) continue;
      const std::uint64_t at = extent.start - region.mapping.start;
      if (extent.size_bytes > pages.vdso.size() - at) image::damaged("the vdso");
      if (!pread_exact(reader.fd(), std::span(pages.vdso).subspan(at, extent.size_bytes),
                       extent.file_offset, reader.path()))
        image::damaged("the vdso");
    }
  }
  return pages;
}

}  // namespace

Json describe_machine() {
  utsname names{};
  ::uname(&names);
  std::string boot = try_read_file("/proc/sys/kernel/random/boot_id").value_or("");
  if (!boot.empty() && boot.back() == '\n') boot.pop_back();
  return {{"kernel", names.release},
          {"hostname", names.nodename},
          {"boot_id", boot},
          {"cpu_flags", processor_features()}};
}

void check_machine(const Json& saved, const image::Reader& reader,
                   const state::AddressSpace& space) {
  const auto features = processor_features();
  const std::set<std::string> have(features.begin(), features.end());
  std::string missing;
  for (const auto& flag : saved.at("cpu_flags"))
    if (const auto name = flag.get<std::string>(); !have.contains(name))
      missing += (missing.empty() ? "" : " ") + name;
  if (!missing.empty())
    fail(ErrorKind::unsupported,
         "this processor lacks {}, which the program may be using: restore on a machine that has "
         "them",
         missing);
  const KernelPages ours = own_kernel_pages();
  const KernelPages theirs = saved_kernel_pages(reader, space);
  if (ours.layout != theirs.layout || ours.vdso != theirs.vdso)
    fail(ErrorKind::unsupported,
         "this kernel's vdso is not that of the snapshot (saved under Linux {}): restore under "
         "that kernel",
         saved.at("kernel").get<std::string>());
}

}  // namespace ckpt::snapshot
