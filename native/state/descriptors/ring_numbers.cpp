#include "state/descriptors/ring_numbers.hpp"

#include <linux/io_uring.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/rings/io_uring.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr std::string_view kRing = "anon_inode:[io_uring]";
// <linux/io_uring.h> of older distributions does not have them (Linux 5.18).
constexpr std::uint32_t kMostRings = 16;       // IO_RINGFD_REG_MAX
constexpr std::uint64_t kByNumber = 1U << 4U;  // IORING_ENTER_REGISTERED_RING
constexpr std::uint64_t kRegisterRings = 20;   // IORING_REGISTER_RING_FDS

}  // namespace

bool has_rings(const std::vector<proc::Mapping>& mappings, const std::vector<int>& descriptors) {
  return !descriptors.empty() ||
         std::any_of(mappings.begin(), mappings.end(),
                     [](const proc::Mapping& map) { return map.path == kRing; });
}

void ask_ring_numbers(tracee::Inferior& inferior, Tid tid, std::vector<RingNumber>& found) {
  // Submits nothing and waits for nothing: it only says whether there is such a ring.
  tracee::Batch batch(inferior);
  for (std::uint32_t number = 0; number < kMostRings; ++number)
    batch.add(SYS_io_uring_enter, {number, 0, 0, kByNumber, 0, 0});
  batch.run();
  for (std::uint32_t number = 0; number < kMostRings; ++number)
    if (batch.result(number) == 0 || batch.result(number) == -EBADFD)
      found.push_back({tid, number, 0});
}

void settle_ring_numbers(CaptureContext& context, const DescriptorTable& table,
                         std::vector<RingNumber>& numbers) {
  std::vector<std::size_t> rings;
  for (std::size_t i = 0; i < table.descriptions.size(); ++i)
    if (table.descriptions[i].path == kRing) rings.push_back(i);
  const bool known =
      rings.size() == 1 && table.descriptions[rings.front()].kind == &kinds::kIoUring;
  for (RingNumber& number : numbers) {
    if (known) {
      number.description = rings.front();
      continue;
    }
    context.report.add(
        Severity::lost, fmt::format("thread {}", number.thread), "io_uring",
        fmt::format("the registered number {} of a ring (IORING_REGISTER_RING_FDS) does not come "
                    "back, since nothing tells of which: every use of it fails with EBADF",
                    number.number));
  }
  if (!known) numbers.clear();
}

const image::Fields<RingNumber>& fields_of(const RingNumber* /*type*/) {
  static const image::Fields<RingNumber> fields = {
      "ring_number",
      {{"tid", &RingNumber::thread, "as the program remembers it"},
       {"number", &RingNumber::number, "at most 15"},
       {"description", &RingNumber::description, "of an io_uring"}}};
  return fields;
}

void check_ring_numbers(const std::vector<RingNumber>& numbers,
                        const std::vector<Description>& descriptions) {
  for (const RingNumber& each : numbers)
    if (each.number >= kMostRings || each.description >= descriptions.size() ||
        descriptions[each.description].kind != &kinds::kIoUring)
      image::damaged("a registered number of an io_uring");
}

void restore_ring_numbers(RestoreContext& inferior, Tid tid, const DescriptorTable& table,
                          const std::vector<RingNumber>& numbers) {
  for (const RingNumber& each : numbers) {
    if (each.thread != tid) continue;
    const auto descriptor = std::find_if(
        table.descriptors.begin(), table.descriptors.end(),
        [&](const Descriptor& other) { return other.description == each.description; });
    if (descriptor == table.descriptors.end()) continue;
    io_uring_rsrc_update update{};
    update.offset = each.number;
    update.data = static_cast<std::uint64_t>(descriptor->fd);
    const std::int64_t registered = inferior.attempt(
        SYS_io_uring_register, {descriptor->fd, kRegisterRings, inferior.put_value(update), 1});
    if (registered != 1)
      inferior.notes.push_back(fmt::format(
          "fd {}: its registered number {} in thread {} cannot be made "
          "again: {}",
          descriptor->fd, each.number, tid, describe_errno(tracee::error_of(registered))));
  }
}

}  // namespace ckpt::state
