#include "state/memory/name_cache.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

namespace ckpt::state {

namespace {

// struct database_pers_head in glibc's nscd/nscd-client.h. A cache is out of date when the daemon
// does not say that it is running and the time is some minutes past.
struct CacheHead {
  std::int32_t version;
  std::int32_t header_size;
  std::int32_t collections;
  std::int32_t daemon_is_running;
  std::int64_t time;
};

}  // namespace

bool is_name_cache(const proc::Mapping& mapping) {
  // Persistent ones, as distributions have them, and temporary ones.
  constexpr auto kPlaces = std::to_array<std::string_view>(
      {"/var/cache/nscd/", "/var/db/nscd/", "/run/nscd/", "/var/run/nscd/"});
  return mapping.shared && std::ranges::any_of(kPlaces, [&](std::string_view place) {
           return mapping.path.starts_with(place);
         });
}

void expire_name_caches(const tracee::Memory& memory, const AddressSpace& space) {
  for (const Region& region : space.regions) {
    const proc::Mapping& map = region.mapping;
    if (!is_name_cache(map) || map.offset_bytes != 0 || region.backing != Backing::shared_anonymous)
      continue;
    auto head = memory.read_value<CacheHead>(map.start);
    head.daemon_is_running = 0;
    head.time = 0;
    memory.write_value(map.start, head);
  }
}

}  // namespace ckpt::state
