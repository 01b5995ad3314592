// A record as typed state: everything that is looked at before a restore starts anything.
#include "snapshot/snapshot.hpp"

#include "forge.hpp"
#include "fuzz.hpp"
#include "snapshot/describe.hpp"
#include "snapshot/kernel_pages.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ckpt::fuzz::in_each_version([&](std::uint32_t version) {
    const auto fd =
        ckpt::fuzz::file_of(ckpt::test::forge_image(ckpt::fuzz::text_of(data, size), version));
    const ckpt::snapshot::Snapshot snapshot(fmt::format("/proc/self/fd/{}", fd.get()));
    static_cast<void>(ckpt::snapshot::describe(snapshot.reader));
    static_cast<void>(ckpt::snapshot::stores_of(snapshot, {}));
    static_cast<void>(ckpt::snapshot::needs_vdso_proxy(snapshot));
  });
}
