// The vdso of a snapshot: its table of functions, the jumps that are planned for it, and a proxy's
// page as it is read out of a program. The first half of the input is the one, all of it the other.
#include "state/memory/vdso.hpp"

#include <cstdlib>

#include "fuzz.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::state;

constexpr Addr kVdsoAt{0x7fff00004000};

KernelPages pages_with(std::span<const std::byte> vdso) {
  proc::Mapping map;
  map.path = "[vdso]";
  map.start = kVdsoAt;
  map.end = kVdsoAt + (vdso.size() + kPageSize - 1) / kPageSize * kPageSize;
  KernelPages pages;
  pages.pages = {map};
  pages.vdso.assign(vdso.begin(), vdso.end());
  return pages;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ckpt::fuzz::expect_result_or_error([&] {
    const auto bytes = std::as_bytes(std::span(data, size));
    const Addr at{0x20000000};
    if (const auto read = read_vdso_proxy(bytes, at))
      if (read->copy.end != at || read->vdso().size() == 0) std::abort();
    if (size == 0) return;
    const KernelPages saved = pages_with(bytes);
    const auto proxy = plan_vdso_proxy(saved, "6.1", at);
    for (const auto& jump : plan_jumps(proxy, bytes, bytes.first(size / 2), Addr{0x30000000}))
      if (jump.offset + kVdsoJumpBytes > size) std::abort();
    static_cast<void>(is_within_jump(proxy, bytes, kVdsoAt + size / 2));
  });
}
