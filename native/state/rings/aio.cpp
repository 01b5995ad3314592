#include "state/rings/aio.hpp"

#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <set>
#include <thread>

#include "base/error.hpp"

namespace ckpt::state {

namespace {

using image::Json;
using namespace std::chrono_literals;

// fs/aio.c: struct aio_ring, in front of the events.
struct Ring {
  std::uint32_t id = 0, nr = 0, head = 0, tail = 0;
  std::uint32_t magic = 0, compat_features = 0, incompat_features = 0, header_length = 0;
};
static_assert(sizeof(Ring) == sizeof(io_event));
constexpr std::uint32_t kMagic = 0xa10a10a1;
constexpr std::string_view kPath = "/[aio]";
constexpr std::uint64_t kMostBytes = 64U << 20U;
constexpr std::uint64_t kEventsPerPage = kPageSize / sizeof(io_event);

std::uint32_t places_in(std::uint64_t size_bytes) {
  return static_cast<std::uint32_t>(size_bytes / sizeof(io_event) - 1);
}

// What the kernel's interrupts are about to complete, it completes while the program stands still.
void wait_until_quiet(const CaptureContext& context, const std::vector<Addr>& rings) {
  constexpr auto kMost = 500ms;
  constexpr auto kQuiet = 10ms;
  const auto end = std::chrono::steady_clock::now() + kMost;
  const auto tails = [&] {
    std::vector<std::uint32_t> all;
    all.reserve(rings.size());
    for (const Addr at : rings) all.push_back(context.memory.read_value<Ring>(at).tail);
    return all;
  };
  for (auto before = tails(); std::chrono::steady_clock::now() < end;) {
    std::this_thread::sleep_for(kQuiet);
    auto now = tails();
    if (now == before) return;
    before = std::move(now);
  }
}

bool is_whole(const Ring& ring, std::uint64_t size_bytes) {
  const std::uint32_t places = places_in(size_bytes);
  return ring.magic == kMagic && ring.header_length == sizeof(Ring) && ring.nr == places &&
         ring.head < places && ring.tail < places && size_bytes <= kMostBytes;
}

std::vector<AioContext> find_contexts(const CaptureContext& context) {
  std::vector<AioContext> contexts;
  for (const auto& map : context.mappings) {
    if (map.path != kPath || !map.shared || map.offset_bytes != 0 || !map.read) continue;
    Ring ring;
    if (context.memory.read_some(map.start, std::as_writable_bytes(std::span(&ring, 1))) !=
            sizeof ring ||
        !is_whole(ring, map.size()))
      continue;
    contexts.push_back({map.start, map.size(), ring.id, 0, 0, {}});
  }
  // In the order in which they were made: then they get their numbers back.
  std::sort(contexts.begin(), contexts.end(), [](const AioContext& one, const AioContext& other) {
    return one.number < other.number;
  });
  return contexts;
}

}  // namespace

std::uint32_t AioContext::places() const { return places_in(size_bytes); }

std::vector<AioContext> capture_aio(CaptureContext& context) {
  auto contexts = find_contexts(context);
  if (contexts.empty()) return contexts;
  std::vector<Addr> rings;
  rings.reserve(contexts.size());
  for (const AioContext& each : contexts) rings.push_back(each.id);
  wait_until_quiet(context, rings);
  for (AioContext& each : contexts) {
    const auto ring = context.memory.read_value<Ring>(each.id);
    if (!is_whole(ring, each.size_bytes)) continue;  // the report names the memory
    each.head = ring.head;
    each.tail = ring.tail;
    each.events.resize(each.places() * sizeof(io_event));
    context.memory.read(each.id + sizeof(Ring), each.events);
    context.returning.insert(each.id);
  }
  std::erase_if(contexts, [](const AioContext& each) { return each.events.empty(); });
  return contexts;
}

const image::Fields<AioContext>& fields_of(const AioContext* /*type*/) {
  static const image::Fields<AioContext> fields = {
      "aio_context",
      {{"id", &AioContext::id, "the address"},
       {"size", &AioContext::size_bytes, "of the ring, in bytes"},
       {"head", &AioContext::head, ""},
       {"tail", &AioContext::tail, ""},
       {"events", &AioContext::events, "all places, 32 bytes each"}},
      [](AioContext& each) {
        if (each.size_bytes == 0 || each.size_bytes > kMostBytes ||
            each.size_bytes % kPageSize != 0 || each.id.value % kPageSize != 0 ||
            each.head >= each.places() || each.tail >= each.places() ||
            each.events.size() != each.places() * sizeof(io_event))
          image::damaged("a context of io_setup()");
      }};
  return fields;
}

namespace {

// fs/aio.c, ioctx_alloc() and aio_setup_ring(): twice as many places as were asked for, two more,
// and what is left of the last page. So several numbers lead to one size; the largest is taken, and
// the smallest where fs.aio-max-nr allows no more.
std::uint64_t set_up(RestoreContext& inferior, std::uint64_t size_bytes) {
  const std::uint64_t pages = size_bytes / kPageSize;
  const std::uint64_t most = pages * kEventsPerPage / 2 - 2;
  const std::uint64_t least = (pages - 1) * kEventsPerPage / 2 + 1;
  const auto at = inferior.put_value(std::uint64_t{0});
  const std::int64_t result = inferior.attempt(SYS_io_setup, {most, at});
  if (result == -EAGAIN)
    inferior.call("io_setup", SYS_io_setup, {least, at});
  else if (result < 0)
    throw_errno("io_setup", tracee::error_of(result));
  return at.read();
}

// Requests that are done when they are made: reading an empty file of memory.
class Requests {
 public:
  explicit Requests(RestoreContext& inferior)
      : inferior_(inferior),
        events_(inferior.reserve<Events>()),
        request_(inferior.reserve<iocb>()),
        list_(inferior.reserve<List>()) {
    file_ = inferior_.open("memfd_create", SYS_memfd_create,
                           {inferior_.put_string("ckpt"), MFD_CLOEXEC});
    iocb request{};
    request.aio_lio_opcode = IOCB_CMD_PREAD;
    request.aio_fildes = static_cast<std::uint32_t>(file_);
    request.aio_buf = events_.at().value;
    request.aio_nbytes = 1;
    request_.write(request);
    // The kernel takes a copy: one request may be made many times.
    List list{};
    list.fill(request_.at().value);
    list_.write(list);
  }
  Requests(const Requests&) = delete;
  Requests& operator=(const Requests&) = delete;
  ~Requests() {
    try {
      inferior_.close(file_);
    } catch (const Error&) {  // the process is gone
    }
  }

  void make(std::uint64_t context, std::uint32_t count, bool take) {
    while (count > 0) {
      const auto some =
          inferior_.call("io_submit", SYS_io_submit, {context, std::min(count, kAtOnce), list_});
      if (some == 0) throw_errno("io_submit", EAGAIN);
      if (take) {
        const auto taken =
            inferior_.call("io_getevents", SYS_io_getevents, {context, some, some, events_, 0});
        if (taken != some) throw_errno("io_getevents", EIO);
      }
      count -= static_cast<std::uint32_t>(some);
    }
  }

 private:
  static constexpr std::uint32_t kAtOnce = 32;
  using Events = std::array<io_event, kAtOnce>;
  using List = std::array<std::uint64_t, kAtOnce>;

  RestoreContext& inferior_;
  tracee::ValuePiece<Events> events_;
  tracee::ValuePiece<iocb> request_;
  tracee::ValuePiece<List> list_;
  int file_ = -1;
};

void fill_context(RestoreContext& inferior, Requests& requests, std::uint64_t made,
                  const AioContext& context) {
  const tracee::Memory& memory = inferior.memory;
  const auto ring = memory.read_value<Ring>(Addr{made});
  if (!is_whole(ring, context.size_bytes) || ring.tail != 0)
    throw Error(ErrorKind::system, "this kernel makes it of another size", EINVAL);
  const std::uint32_t places = context.places();
  const std::uint32_t unread = (context.tail + places - context.head) % places;
  // As far as the kernel counts; what is not read yet stays there.
  const std::uint32_t all = context.tail + (unread > context.tail ? places : 0);
  requests.make(made, all - unread, true);
  requests.make(made, unread, false);
  inferior.call(
      "mremap", SYS_mremap,
      {made, context.size_bytes, context.size_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, context.id, 0});
  const auto now = memory.read_value<Ring>(context.id);
  if (now.tail != context.tail || now.head != context.head)
    throw Error(ErrorKind::system, "its counters do not come out as they were", EIO);
  memory.write(context.id + sizeof(Ring), context.events);
}

}  // namespace

void restore_aio(RestoreContext& inferior, const std::vector<AioContext>& contexts) {
  if (contexts.empty()) return;
  for (const AioContext& context : contexts) {
    std::uint64_t made = 0;
    try {
      made = set_up(inferior, context.size_bytes);
      Requests requests(inferior);
      fill_context(inferior, requests, made, context);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::system) throw;
      if (made != 0) inferior.attempt(SYS_io_destroy, {made});
      inferior.notes.push_back(fmt::format("the io_setup() context at {} cannot be made again: {}",
                                           context.id, error.what()));
    }
  }
}

}  // namespace ckpt::state
