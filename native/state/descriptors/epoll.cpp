#include "state/descriptors/epoll.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <map>
#include <string_view>

#include "base/error.hpp"
#include "proc/text.hpp"
#include "state/descriptors/kinds.hpp"

namespace ckpt::state {

namespace {

// <linux/eventpoll.h>: of a structure of eight bytes.
constexpr unsigned long kSetParameters = _IOW(0x8A, 1, std::uint64_t);
constexpr unsigned long kGetParameters = _IOR(0x8A, 2, std::uint64_t);

using image::Json;

constexpr std::uint32_t kEveryEvent = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDNORM | EPOLLRDBAND |
                                      EPOLLWRNORM | EPOLLWRBAND | EPOLLMSG | EPOLLERR | EPOLLHUP |
                                      EPOLLRDHUP;

// The kernel's own dev_t, as fdinfo shows it; the one of stat(2) has another layout.
dev_t device_of(std::uint64_t kernel_device) {
  constexpr unsigned kMinorBits = 20;
  return gnu_dev_makedev(static_cast<unsigned>(kernel_device >> kMinorBits),
                         static_cast<unsigned>(kernel_device & ((1U << kMinorBits) - 1)));
}

// "   5 events:       19 data:                5  pos:0 ino:1d sdev:6"
struct Line {
  EpollEntry entry;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
};

std::optional<Line> parse_line(std::string_view text) {
  Line line;
  const auto number = proc::parse_number<int>(proc::next_word(text));
  if (!number) return std::nullopt;
  line.entry.fd = *number;
  const auto value_of = [&](std::string_view name) -> std::optional<std::uint64_t> {
    const auto at = text.find(name);
    if (at == std::string_view::npos) return std::nullopt;
    std::string_view rest = text.substr(at + name.size());
    return proc::parse_number<std::uint64_t>(proc::next_word(rest), 16);
  };
  const auto events = value_of("events:");
  const auto data = value_of("data:");
  const auto inode = value_of("ino:");
  const auto device = value_of("sdev:");
  if (!events || !data || !inode || !device) return std::nullopt;
  line.entry.events = static_cast<std::uint32_t>(*events);
  line.entry.data = *data;
  line.inode = *inode;
  line.device = *device;
  return line;
}

bool add(RestoreContext& inferior, int epoll_fd, const EpollEntry& entry, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = entry.data;
  const auto at = inferior.put_value(event);
  return inferior.attempt(SYS_epoll_ctl, {epoll_fd, EPOLL_CTL_ADD, entry.fd, at}) == 0;
}

// Takes what is ready now. Level-triggered entries are ready again at once, others are not.
std::int64_t take_ready(RestoreContext& inferior, int epoll_fd) {
  constexpr std::uint64_t kMost = 512;
  const auto events = inferior.reserve(kMost * sizeof(epoll_event));
  return inferior.attempt(arch::kSysEpollWait, {epoll_fd, events, kMost, 0});
}

// An EPOLLONESHOT entry that has fired waits for EPOLL_CTL_MOD; only firing makes one so.
bool is_spent(const EpollEntry& entry) {
  return (entry.events & EPOLLONESHOT) != 0 && (entry.events & kEveryEvent) == 0;
}

}  // namespace

Epoll read_epoll(CaptureContext& context, const std::string& object, const std::string& info,
                 int own, const FindDescription& find) {
  Epoll epoll;
  if (own >= 0 && ::ioctl(own, kGetParameters, &epoll.busy_polling) != 0) epoll.busy_polling = 0;
  std::map<int, std::uint32_t> slots;
  std::string_view text = info;
  while (!text.empty()) {
    std::string_view line = proc::cut(text, '\n');
    if (proc::cut(line, ':') != "tfd") continue;
    auto parsed = parse_line(line);
    if (!parsed)
      fail(ErrorKind::unsupported, "{}: cannot parse its epoll entry \"{}\"", object, line);
    const int fd = parsed->entry.fd;
    const auto found = find(fd, slots[fd]++, parsed->inode, device_of(parsed->device));
    if (!found) {
      context.report.add(Severity::lost, object, "epoll",
                         fmt::format("it watches a file that was fd {} and that the program has no "
                                     "descriptor of any more: its events never come",
                                     fd));
      continue;
    }
    parsed->entry.description = *found;
    epoll.entries.push_back(parsed->entry);
  }
  pollfd ready{own, POLLIN, 0};
  epoll.ready = own < 0 || ::poll(&ready, 1, 0) > 0;
  return epoll;
}

const image::Fields<EpollEntry>& fields_of(const EpollEntry* /*type*/) {
  static const image::Fields<EpollEntry> fields = {
      "epoll_entry",
      {{"fd", &EpollEntry::fd, "the number when it was added"},
       {"events", &EpollEntry::events, ""},
       {"data", &EpollEntry::data, ""},
       {"description", &EpollEntry::description, "index"}},
      [](EpollEntry& entry) {
        if (entry.fd < 0) image::damaged("a descriptor in an epoll set");
      }};
  return fields;
}

const image::Fields<Epoll>& fields_of(const Epoll* /*type*/) {
  using enum image::Presence;
  static const image::Fields<Epoll> fields = {
      "epoll",
      {{"entries", &Epoll::entries, ""},
       {"ready", &Epoll::ready, "whether something was reported at the save"},
       {"busy_polling", &Epoll::busy_polling, "struct epoll_params as a number", later}}};
  return fields;
}

int make_epoll(RestoreContext& inferior, const Epoll& epoll, const std::string& object) {
  const int fd = inferior.open("epoll_create", SYS_epoll_create1, {0});
  if (epoll.busy_polling == 0) return fd;
  const auto at = inferior.put_value(epoll.busy_polling);
  const std::int64_t result = inferior.attempt(SYS_ioctl, {fd, kSetParameters, at});
  if (result != 0)
    inferior.notes.push_back(
        fmt::format("{}: its busy polling (EPIOCSPARAMS) cannot be set again: {}", object,
                    describe_errno(static_cast<int>(-result))));
  return fd;
}

std::vector<std::string> fill_epoll(
    RestoreContext& inferior, int epoll_fd, const Epoll& epoll,
    const std::function<std::optional<int>(const EpollEntry&)>& number_of) {
  std::vector<std::string> failed;
  for (const EpollEntry& entry : epoll.entries) {
    const auto number = number_of(entry);
    if (!number) {
      failed.push_back(fmt::format("fd {}", entry.fd));
      continue;
    }
    const int wanted = entry.fd;
    // The number belongs to another file by now, or to none: lend it.
    const bool lent = *number != entry.fd;
    std::int64_t aside = -1;
    std::int64_t aside_flags = 0;
    if (lent) {
      aside_flags = inferior.attempt(SYS_fcntl, {wanted, F_GETFD});
      if (aside_flags >= 0) aside = inferior.open("dup", SYS_dup, {wanted});
      inferior.call("dup3", SYS_dup3, {*number, wanted, 0});
    }
    bool added = false;
    if (is_spent(entry)) {
      added = add(inferior, epoll_fd, entry, entry.events | kEveryEvent);
      take_ready(inferior, epoll_fd);
    } else {
      added = add(inferior, epoll_fd, entry, entry.events);
      // Some flags are not for every file (EPOLLWAKEUP needs a privilege).
      if (!added)
        added = add(inferior, epoll_fd, entry, entry.events & ~std::uint32_t{EPOLLWAKEUP});
    }
    if (!added) failed.push_back(fmt::format("fd {}", entry.fd));
    if (lent) {
      if (aside < 0) {
        inferior.close(entry.fd);
      } else {
        inferior.call("dup3", SYS_dup3,
                      {aside, wanted, (aside_flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0});
        inferior.close(static_cast<int>(aside));
      }
    }
  }
  if (!epoll.ready)
    for (std::size_t i = 0; i <= epoll.entries.size() && take_ready(inferior, epoll_fd) > 0; ++i) {
    }
  return failed;
}

namespace {

void link_epoll(const Description& description, const Linking& linking) {
  const DescriptorTable& table = linking.table;
  const auto number = [&](const EpollEntry& entry) -> std::optional<int> {
    for (const Descriptor& descriptor : table.descriptors)
      if (descriptor.fd == entry.fd && descriptor.description == entry.description) return entry.fd;
    return number_until_linked(table, linking.made, entry.description);
  };
  for (const std::string& name :
       fill_epoll(linking.inferior, linking.number, description.get<Epoll>(), number))
    linking.inferior.notes.push_back(
        fmt::format("{}: the epoll set does not watch {} any more", linking.object, name));
}

}  // namespace

// Its entries are read when all others are known (Capturer).
const DescriptorKind kinds::kEpoll = {
    .name = "epoll",
    .details = &kDetails<Epoll>,
    .make =
        [](const Description& description, const Making& making) {
          return make_epoll(making.inferior, description.get<Epoll>(), making.object);
        },
    .link = link_epoll};

}  // namespace ckpt::state
