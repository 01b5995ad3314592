#include <algorithm>
#include <array>

#include "arch/arch.hpp"

namespace ckpt::arch {

// Not the flags about power, virtualization and the like, which are not the program's; not those
// about speed (erms, fsrm); not hints, which other processors skip (3dnowprefetch, cldemote); nor
// what a restore takes away anyway (pku: memory comes back without keys; user_shstk: it is not
// saved).
bool is_instruction_set(std::string_view flag) {
  constexpr std::array<std::string_view, 21> kPrefixes = {
      "sse",    "ssse",   "avx",    "amx_", "bmi",   "fma",  "aes",
      "vaes",   "sha",    "gfni",   "vpcl", "pclm",  "movb", "movdir",
      "popcnt", "rdrand", "rdseed", "f16c", "fsgsb", "cx16", "clwb"};
  constexpr std::array<std::string_view, 14> kExact = {
      "mmx",     "adx",     "abm",   "lzcnt",    "rdpid",  "rdtscp",     "serialize",
      "waitpkg", "lahf_lm", "xsave", "xsaveopt", "xsavec", "clflushopt", "xgetbv1"};
  return std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [&](std::string_view prefix) { return flag.starts_with(prefix); }) ||
         std::find(kExact.begin(), kExact.end(), flag) != kExact.end();
}

}  // namespace ckpt::arch
