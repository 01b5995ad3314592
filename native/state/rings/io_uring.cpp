// Capture and record of an io_uring; see io_uring.hpp.
#include "state/rings/io_uring.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>

#include "base/error.hpp"
#include "base/io.hpp"
#include "proc/text.hpp"
#include "state/rings/ring_view.hpp"

namespace ckpt::state {

namespace {

using image::Json;
using namespace std::chrono_literals;

constexpr std::string_view kTarget = "anon_inode:[io_uring]";
// What a restore gives back; IORING_SETUP_CQSIZE is a matter of course.
constexpr std::uint32_t kKnownFlags =
    IORING_SETUP_SQPOLL | IORING_SETUP_R_DISABLED | IORING_SETUP_NO_SQARRAY;
constexpr std::uint32_t kMostSqEntries = 32768;  // IORING_MAX_ENTRIES
constexpr std::uint32_t kMostCqEntries = 2 * kMostSqEntries;
// A new ring is brought so far within seconds.
constexpr std::uint32_t kMostRequests = 1U << 28U;
constexpr std::uint32_t kMostFiles = 1U << 20U;
constexpr std::uint32_t kMostBuffers = 1U << 14U;
constexpr std::uint64_t kMostBufferBytes = 1U << 30U;

// --- fdinfo

std::optional<std::uint32_t> mask_field(const std::string& info, std::string_view name) {
  auto text = proc::field(info, name);
  if (!text || !text->starts_with("0x")) return std::nullopt;
  return proc::parse_number<std::uint32_t>(text->substr(2), 16);
}

// The lines that follow "NAME:" up to the next name: "    0: something".
std::vector<std::string_view> list_after(std::string_view info, std::string_view name) {
  std::vector<std::string_view> lines;
  bool inside = false;
  while (!info.empty()) {
    const std::string_view line = proc::cut(info, '\n');
    if (inside) {
      if (line.empty() || (line.front() != ' ' && line.front() != '\t')) return lines;
      lines.push_back(line);
    } else {
      inside = line.starts_with(name) && line.substr(name.size()).starts_with(':');
    }
  }
  return lines;
}

struct Numbered {
  std::uint32_t index = 0;
  std::string_view text;
};

std::optional<Numbered> numbered(std::string_view line) {
  proc::skip_blanks(line);
  const auto index = proc::parse_number<std::uint32_t>(proc::cut(line, ':'));
  proc::skip_blanks(line);
  if (!index) return std::nullopt;
  return Numbered{*index, line};
}

std::uint32_t count_of(const std::string& info, std::string_view name) {
  return proc::number_field<std::uint32_t>(info, name).value_or(0);
}

// While something holds the ring's lock, such as its kernel thread, the kernel leaves out the
// lists, and says that there is no thread.
std::string read_info(const CaptureContext& context, int fd) {
  constexpr int kTries = 20;
  for (int i = 1;; ++i) {
    std::string info = context.process.fdinfo(fd).text;
    const bool whole = list_after(info, "UserFiles").size() + list_after(info, "UserBufs").size() >=
                       std::size_t{count_of(info, "UserFiles") != 0} +
                           std::size_t{count_of(info, "UserBufs") != 0};
    const bool polled = proc::field(info, "SqThread").value_or("-1") != "-1";
    // A ring without a thread is hardly ever locked in a stopped program, and a table of files may
    // have none in it.
    if ((whole && (polled || i >= 3)) || i == kTries) return info;
    std::this_thread::sleep_for(1ms);
  }
}

// "0x7f00/4096"
std::pair<Addr, std::uint64_t> parse_buffer(std::string_view text) {
  if (!text.starts_with("0x")) return {};
  text.remove_prefix(2);
  const auto at = proc::parse_number<std::uint64_t>(proc::cut(text, '/'), 16);
  const auto size = proc::parse_number<std::uint64_t>(text);
  if (!at || !size) return {};
  return {Addr{*at}, *size};
}

void read_registered(const std::string& info, IoUring& ring) {
  ring.file_names.resize(std::min(count_of(info, "UserFiles"), kMostFiles));
  for (const auto line : list_after(info, "UserFiles"))
    if (const auto item = numbered(line); item && item->index < ring.file_names.size())
      if (item->text != "<none>") ring.file_names[item->index] = item->text;
  ring.buffers.resize(std::min(count_of(info, "UserBufs"), kMostBuffers));
  for (const auto line : list_after(info, "UserBufs"))
    if (const auto item = numbered(line); item && item->index < ring.buffers.size())
      ring.buffers[item->index] = parse_buffer(item->text);
}

// --- what the kernel does not tell

// The layout of this kernel's rings: it is in no header.
std::optional<RingLayout> own_layout(std::uint32_t cq_entries) {
  io_uring_params parameters{};
  const UniqueFd fd(set_up_ring(1, parameters));
  if (!fd) return std::nullopt;
  return layout_of(parameters, cq_entries);
}

bool knows_no_array() {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_NO_SQARRAY;
  const UniqueFd fd(set_up_ring(1, parameters));
  return static_cast<bool>(fd);
}

bool is_disabled(int own) { return enter_ring(own, 0, 0) == -1 && errno == EBADFD; }

// A descriptor that is none is looked at only if no other is registered (io_eventfd_register()).
bool has_eventfd(int own) {
  int none = -1;
  return ::syscall(SYS_io_uring_register, own, IORING_REGISTER_EVENTFD, &none, 1) == -1 &&
         errno == EBUSY;
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(),
                     [](std::byte byte) { return byte == std::byte{}; });
}

std::uint64_t longest_mapping(const IoUring& ring, bool of_sqes) {
  std::uint64_t longest = 0;
  for (const RingMapping& map : ring.mappings)
    if ((map.offset_bytes == IORING_OFF_SQES) == of_sqes)
      longest = std::max(longest, map.size_bytes);
  return longest;
}

// Whether the kernel takes its requests by the array, or in their order. Where the rings' pages
// would hold the array in any case, it is in its content: liburing fills it in at once, and who
// uses it otherwise has a request elsewhere than in the first place soon. All zeros are
// either a ring without it or one that was never used: in its order both are right.
bool uses_array(const IoUring& ring, const RingView& view) {
  if (view.array().empty()) return false;
  const std::uint64_t without = page_up(cqes_end(ring.layout, ring.cq_entries));
  const std::uint64_t with = page_up(array_end(ring.layout, ring.sq_entries));
  const std::uint64_t mapped = longest_mapping(ring, false);
  if (with > without && mapped != 0) return mapped > without;
  if (ring.sq_entries == 1 || !all_zero(view.array())) return true;
  if (ring.sq_head >= 2 && all_zero(view.sqes().subspan(sizeof(io_uring_sqe)))) return true;
  return !knows_no_array();
}

void find_mappings(const CaptureContext& context, ino_t inode, IoUring& ring) {
  if (inode == 0) return;  // not asked for
  for (const auto& map : context.process.detailed_mappings()) {
    if (map.path != kTarget || map.inode != inode) continue;
    ring.mappings.push_back(
        {map.start, map.size(), map.offset_bytes, map.read, map.write, map.has_flag("dc")});
  }
}

std::vector<std::byte> copy(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

// The kernel may be adding to it.
void copy_content(const RingView& view, IoUring& ring) {
  constexpr int kTries = 20;
  const RingLayout& at = ring.layout;
  for (int i = 0; i < kTries; ++i) {
    ring.sq_head = view.load(at.sq_head);
    ring.cq_tail = view.load(at.cq_tail);
    ring.sq_tail = view.load(at.sq_tail);
    ring.cq_head = view.load(at.cq_head);
    ring.sq_dropped = view.load(at.sq_dropped);
    ring.cq_overflow = view.load(at.cq_overflow);
    ring.cq_flags = view.load(at.cq_flags);
    ring.cqes = copy(view.cqes());
    ring.sqes = copy(view.sqes());
    ring.array = copy(view.array());
    if (ring.sq_head == view.load(at.sq_head) && ring.cq_tail == view.load(at.cq_tail)) return;
  }
}

// --- what is in flight

io_uring_sqe sqe_at(const IoUring& ring, std::uint32_t index) {
  io_uring_sqe sqe{};
  std::memcpy(&sqe, ring.sqes.data() + std::size_t{index} * sizeof sqe, sizeof sqe);
  return sqe;
}

io_uring_cqe cqe_at(const IoUring& ring, std::uint32_t number) {
  io_uring_cqe cqe{};
  const std::size_t index = number & (ring.cq_entries - 1);
  std::memcpy(&cqe, ring.cqes.data() + index * sizeof cqe, sizeof cqe);
  return cqe;
}

std::optional<io_uring_sqe> submitted(const IoUring& ring, std::uint32_t number) {
  std::uint32_t index = number & (ring.sq_entries - 1);
  if (ring.has_array())
    std::memcpy(&index, ring.array.data() + std::size_t{index} * sizeof index, sizeof index);
  if (index >= ring.sq_entries) return std::nullopt;
  return sqe_at(ring, index);
}

struct InFlight {
  std::vector<io_uring_sqe> known;
  std::uint32_t unknown = 0;
};

// The last requests are still in their places, and so are the last completions. Of R requests that
// were looked at as many as are in flight have none.
InFlight find_in_flight(const IoUring& ring) {
  InFlight found;
  const std::uint32_t missing = ring.sq_head - ring.cq_tail;
  const bool plausible = missing <= ring.sq_head && missing < kMostRequests;  // else: multishot
  const std::uint32_t window = std::min(ring.sq_entries, ring.sq_head);
  std::uint32_t newest = std::min(ring.cq_entries, ring.cq_tail);
  if (plausible && missing < window) newest = std::min(newest, window - missing);
  std::map<std::uint64_t, std::uint32_t> completed;
  std::map<std::uint64_t, bool> goes_on;
  for (std::uint32_t i = newest; i > 0; --i) {
    const io_uring_cqe cqe = cqe_at(ring, ring.cq_tail - i);
    goes_on[cqe.user_data] = (cqe.flags & IORING_CQE_F_MORE) != 0;
    if ((cqe.flags & IORING_CQE_F_MORE) == 0) ++completed[cqe.user_data];
  }
  // From the oldest on: what is in flight for long was submitted early, but a place used again is
  // more likely than that.
  for (std::uint32_t i = window; i > 0; --i) {
    const auto sqe = submitted(ring, ring.sq_head - i);
    if (!sqe || (sqe->flags & IOSQE_CQE_SKIP_SUCCESS) != 0) continue;
    auto& count = completed[sqe->user_data];
    if (count > 0)
      --count;
    else
      found.known.push_back(*sqe);
  }
  if (missing == 0) {
    // As many completions as requests: only what completes many times can be left.
    std::erase_if(found.known, [&](const auto& sqe) { return !goes_on[sqe.user_data]; });
  } else if (plausible && found.known.size() > missing) {
    found.known.erase(found.known.begin(),
                      found.known.end() - static_cast<std::ptrdiff_t>(missing));
  } else if (plausible) {
    found.unknown = missing - static_cast<std::uint32_t>(found.known.size());
  }
  return found;
}

std::string opcode_name(unsigned opcode) {
  constexpr std::array<std::string_view, 48> kNames = {"NOP",
                                                       "READV",
                                                       "WRITEV",
                                                       "FSYNC",
                                                       "READ_FIXED",
                                                       "WRITE_FIXED",
                                                       "POLL_ADD",
                                                       "POLL_REMOVE",
                                                       "SYNC_FILE_RANGE",
                                                       "SENDMSG",
                                                       "RECVMSG",
                                                       "TIMEOUT",
                                                       "TIMEOUT_REMOVE",
                                                       "ACCEPT",
                                                       "ASYNC_CANCEL",
                                                       "LINK_TIMEOUT",
                                                       "CONNECT",
                                                       "FALLOCATE",
                                                       "OPENAT",
                                                       "CLOSE",
                                                       "FILES_UPDATE",
                                                       "STATX",
                                                       "READ",
                                                       "WRITE",
                                                       "FADVISE",
                                                       "MADVISE",
                                                       "SEND",
                                                       "RECV",
                                                       "OPENAT2",
                                                       "EPOLL_CTL",
                                                       "SPLICE",
                                                       "PROVIDE_BUFFERS",
                                                       "REMOVE_BUFFERS",
                                                       "TEE",
                                                       "SHUTDOWN",
                                                       "RENAMEAT",
                                                       "UNLINKAT",
                                                       "MKDIRAT",
                                                       "SYMLINKAT",
                                                       "LINKAT",
                                                       "MSG_RING",
                                                       "FSETXATTR",
                                                       "SETXATTR",
                                                       "FGETXATTR",
                                                       "GETXATTR",
                                                       "SOCKET",
                                                       "URING_CMD",
                                                       "SEND_ZC"};
  return opcode < kNames.size() ? std::string(kNames.at(opcode)) : fmt::format("opcode {}", opcode);
}

void cancel_in_flight(CaptureContext& context, const std::string& object, IoUring& ring) {
  const InFlight found = find_in_flight(ring);
  std::map<std::string, int> names;
  for (const io_uring_sqe& sqe : found.known) {
    if (ring.cancelled.size() == ring.cq_entries - (ring.cq_tail - ring.cq_head)) break;
    ring.cancelled.push_back(sqe.user_data);
    ++names[opcode_name(sqe.opcode)];
  }
  std::string list;
  for (const auto& [name, count] : names)
    list += fmt::format("{}{}{}", list.empty() ? "" : ", ",
                        count == 1 ? "" : fmt::format("{} ", count), name);
  if (!ring.cancelled.empty())
    context.report.add(Severity::changed, object, "io_uring",
                       fmt::format("what is in flight ({}) ends with ECANCELED in the restored "
                                   "program",
                                   list));
  if (found.unknown != 0)
    context.report.add(
        Severity::changed, object, "io_uring",
        fmt::format("{} more requests had no completion: those of them that are in flight and not "
                    "without one by intent never end in the restored program",
                    found.unknown));
}

void report_what_stays_behind(CaptureContext& context, const std::string& object,
                              const std::string& info, int own) {
  const auto lose = [&](std::string_view what) {
    context.report.add(Severity::lost, object, "io_uring", std::string(what));
  };
  if (!list_after(info, "CqOverflowList").empty())
    lose("completions for which the ring had no room do not come back");
  if (info.find("\nPersonalities:") != std::string::npos)
    lose("its registered credentials (personalities) do not come back");
  constexpr unsigned kPbufStatus = 26;  // IORING_REGISTER_PBUF_STATUS, Linux 6.8
  constexpr std::uint32_t kGroups = 64;
  struct {
    std::uint32_t group, head, reserved[8];  // NOLINT(modernize-avoid-c-arrays): the kernel's
  } status{};
  for (std::uint32_t group = 0; group < kGroups; ++group) {
    status = {};
    status.group = group;
    if (::syscall(SYS_io_uring_register, own, kPbufStatus, &status, 1) == 0)
      lose(fmt::format("its ring of provided buffers {} does not come back", group));
  }
}

std::optional<std::string> why_not_whole(const IoUring& ring) {
  if (ring.sq_tail - ring.sq_head > ring.sq_entries ||
      ring.cq_tail - ring.cq_head > ring.cq_entries)
    return "its counters make no sense";
  if (ring.sq_head > kMostRequests || ring.cq_tail > kMostRequests - kMostCqEntries)
    return "it has done too much for a new ring to be brought as far";
  const std::uint64_t array = page_up(array_end(ring.layout, ring.sq_entries));
  const std::uint64_t sqes = page_up(std::uint64_t{ring.sq_entries} * sizeof(io_uring_sqe));
  if (longest_mapping(ring, true) > sqes || longest_mapping(ring, false) > array)
    return "its entries are large ones";
  for (const RingMapping& map : ring.mappings)
    if (map.offset_bytes != IORING_OFF_SQ_RING && map.offset_bytes != IORING_OFF_CQ_RING &&
        map.offset_bytes != IORING_OFF_SQES)
      return "more of it is mapped than the rings";
  return std::nullopt;
}

// All that needs no remote call; without the mappings for inode 0.
std::optional<IoUring> look_at(const CaptureContext& context, const std::string& info, int own,
                               ino_t inode, std::string& why_not) {
  const auto sq_mask = mask_field(info, "SqMask");
  const auto cq_mask = mask_field(info, "CqMask");
  if (!sq_mask || !cq_mask || *sq_mask >= kMostSqEntries || *cq_mask >= kMostCqEntries) {
    why_not = "this kernel does not tell its size";
    return std::nullopt;
  }
  IoUring ring;
  ring.sq_entries = *sq_mask + 1;
  ring.cq_entries = *cq_mask + 1;
  const auto layout = own_layout(ring.cq_entries);
  if (!layout) {
    why_not = fmt::format("io_uring_setup: {}", describe_errno(errno));
    return std::nullopt;
  }
  ring.layout = *layout;
  find_mappings(context, inode, ring);
  const RingView view(own, ring.layout, ring.sq_entries, ring.cq_entries, true, false);
  copy_content(view, ring);
  if (!uses_array(ring, view)) {
    ring.array.clear();
    ring.setup_flags |= IORING_SETUP_NO_SQARRAY;
  }
  return ring;
}

}  // namespace

std::optional<IoUring> read_io_uring(CaptureContext& context, const std::string& object, int fd,
                                     int own, ino_t inode, std::string& why_not) {
  const std::string info = read_info(context, fd);
  std::optional<IoUring> ring;
  try {
    ring = look_at(context, info, own, inode, why_not);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::system) throw;
    why_not = error.what();
  }
  if (!ring) return std::nullopt;
  if (const auto reason = why_not_whole(*ring)) {
    why_not = *reason;
    return std::nullopt;
  }
  if (proc::field(info, "SqThread").value_or("-1") != "-1")
    ring->setup_flags |= IORING_SETUP_SQPOLL;
  if (is_disabled(own)) ring->setup_flags |= IORING_SETUP_R_DISABLED;
  read_registered(info, *ring);
  ring->has_eventfd = has_eventfd(own);
  cancel_in_flight(context, object, *ring);
  report_what_stays_behind(context, object, info, own);
  for (const RingMapping& map : ring->mappings) context.returning.insert(map.start);
  return ring;
}

std::vector<int> find_rings(const proc::ProcessDir& process) {
  std::vector<int> rings;
  for (const auto& [fd, target] : process.descriptor_links())
    if (target == kTarget) rings.push_back(fd);
  return rings;
}

void wait_for_rings(CaptureContext& context, const std::vector<int>& rings, bool late) {
  constexpr auto kMost = 500ms;
  constexpr auto kMoment = 20ms;
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, context.process.pid(), 0)));
  const auto end = std::chrono::steady_clock::now() + (late ? kMost : kMoment);
  for (const int fd : rings) {
    const UniqueFd own(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), fd, 0)));
    std::string why_not;
    while (own && std::chrono::steady_clock::now() < end) {
      const auto ring = look_at(context, context.process.fdinfo(fd).text, own.get(), 0, why_not);
      if (!ring || why_not_whole(*ring) || find_in_flight(*ring).known.empty()) break;
      std::this_thread::sleep_for(2ms);
      if (!late) continue;
      // What has ended may wait for a thread that takes it out of the kernel.
      context.attempt(SYS_io_uring_enter, {fd, 0, 0, IORING_ENTER_GETEVENTS});
    }
  }
}

// --- the record

namespace {

using Layout =
    image::Row<RingLayout, &RingLayout::sq_head, &RingLayout::sq_tail, &RingLayout::sq_dropped,
               &RingLayout::sq_array, &RingLayout::cq_head, &RingLayout::cq_tail,
               &RingLayout::cq_overflow, &RingLayout::cq_flags, &RingLayout::cqes>;

void check_layout(const RingLayout& at, std::uint32_t cq_entries) {
  constexpr std::uint32_t kHeadBytes = 4096;
  for (const std::uint32_t* word :
       {&at.sq_head, &at.sq_tail, &at.sq_dropped, &at.sq_array, &at.cq_head, &at.cq_tail,
        &at.cq_overflow, &at.cq_flags, &at.cqes}) {
    const bool is_array = word == &at.sq_array;
    if (*word % sizeof(std::uint32_t) != 0 || (!is_array && *word >= kHeadBytes))
      image::damaged("the layout of an io_uring");
  }
  if (at.sq_array != array_offset(at.cqes, cq_entries)) image::damaged("the layout of an io_uring");
}

void check_size(const IoUring& ring) {
  const auto is_possible = [](std::uint32_t entries, std::uint32_t most) {
    return std::has_single_bit(entries) && entries <= most;
  };
  if (!is_possible(ring.sq_entries, kMostSqEntries) ||
      !is_possible(ring.cq_entries, kMostCqEntries) || ring.cq_entries < ring.sq_entries)
    image::damaged("the size of an io_uring");
  const bool array = (ring.setup_flags & IORING_SETUP_NO_SQARRAY) == 0;
  if (ring.array.size() != (array ? ring.sq_entries * sizeof(std::uint32_t) : 0) ||
      ring.cqes.size() != ring.cq_entries * sizeof(io_uring_cqe) ||
      ring.sqes.size() != ring.sq_entries * sizeof(io_uring_sqe))
    image::damaged("the memory of an io_uring");
}

void check_mapping(const RingMapping& map, const IoUring& ring) {
  const bool sqes = map.offset_bytes == IORING_OFF_SQES;
  const bool rings =
      map.offset_bytes == IORING_OFF_SQ_RING || map.offset_bytes == IORING_OFF_CQ_RING;
  const std::uint64_t most = page_up(sqes ? std::uint64_t{ring.sq_entries} * sizeof(io_uring_sqe)
                                          : array_end(ring.layout, ring.sq_entries));
  if ((!sqes && !rings) || map.size_bytes == 0 || map.size_bytes > most ||
      map.size_bytes % kPageSize != 0 || map.start.value % kPageSize != 0)
    image::damaged("a mapping of an io_uring");
}

void check_registered(const IoUring& ring) {
  if (ring.files.size() > kMostFiles || ring.buffers.size() > kMostBuffers)
    image::damaged("what an io_uring has registered");
  for (const auto& [at, size_bytes] : ring.buffers)
    if (size_bytes > kMostBufferBytes) image::damaged("a buffer of an io_uring");
}

void check_ring(IoUring& ring) {
  if ((ring.setup_flags & ~kKnownFlags) != 0) image::damaged("the flags of an io_uring");
  check_size(ring);
  check_layout(ring.layout, ring.cq_entries);
  for (const RingMapping& map : ring.mappings) check_mapping(map, ring);
  check_registered(ring);
  if (why_not_whole(ring) ||
      ring.cancelled.size() > ring.cq_entries - (ring.cq_tail - ring.cq_head))
    image::damaged("the counters of an io_uring");
}

}  // namespace

const image::Fields<RingMapping>& fields_of(const RingMapping* /*type*/) {
  using M = RingMapping;
  static const image::Fields<M> fields = {
      "ring_mapping",
      {{"start", &M::start, ""},
       {"size", &M::size_bytes, "in bytes"},
       {"offset", &M::offset_bytes, "IORING_OFF_*"},
       {"read", &M::read, ""},
       {"write", &M::write, ""},
       {"not_for_children", &M::not_for_children, "MADV_DONTFORK"}}};
  return fields;
}

const image::Fields<IoUring>& fields_of(const IoUring* /*type*/) {
  using R = IoUring;
  using Field = image::Field<R>;
  static const image::Fields<R> fields = {
      "io_uring",
      {{"setup_flags", &R::setup_flags, "IORING_SETUP_SQPOLL, _R_DISABLED, _NO_SQARRAY"},
       {"sq_entries", &R::sq_entries, ""},
       {"cq_entries", &R::cq_entries, ""},
       Field::as<Layout>("layout", &R::layout,
                         "offsets in the rings, in bytes: of head, tail, dropped and array of the "
                         "submission queue, and of head, tail, overflow, flags and entries of the "
                         "other"),
       {"sq_head", &R::sq_head, ""},
       {"sq_tail", &R::sq_tail, ""},
       {"sq_dropped", &R::sq_dropped, ""},
       {"cq_head", &R::cq_head, ""},
       {"cq_tail", &R::cq_tail, ""},
       {"cq_overflow", &R::cq_overflow, ""},
       {"cq_flags", &R::cq_flags, ""},
       {"array", &R::array, "empty with NO_SQARRAY"},
       {"cqes", &R::cqes, ""},
       {"sqes", &R::sqes, ""},
       {"files", &R::files, "registered: descriptions, null for an empty place"},
       {"buffers", &R::buffers, "registered: address and size, 0 for an empty place"},
       {"eventfd", &R::eventfd, "registered: a description"},
       {"mappings", &R::mappings, "they are `lost` in [memory](#memory)"},
       {"cancelled", &R::cancelled, "`user_data` of what was in flight"}},
      check_ring};
  return fields;
}

}  // namespace ckpt::state
