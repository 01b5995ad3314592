#include "recording/encoding.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/error.hpp"

namespace ckpt::recording {

namespace {

using Bytes = std::vector<std::byte>;

// -- writing --

template <typename T>
void put(Bytes& into, T value) {
  static_assert(std::is_integral_v<T>);
  const auto bytes = std::as_bytes(std::span(&value, 1));
  into.insert(into.end(), bytes.begin(), bytes.end());
}

void put_bytes(Bytes& into, std::span<const std::byte> bytes) {
  put<std::uint64_t>(into, bytes.size());
  into.insert(into.end(), bytes.begin(), bytes.end());
}

void put_text(Bytes& into, const std::string& text) {
  put_bytes(into, std::as_bytes(std::span(text)));
}

template <typename T, typename Put>
void put_list(Bytes& into, const std::vector<T>& list, Put put_one) {
  put<std::uint64_t>(into, list.size());
  for (const T& one : list) put_one(into, one);
}

void put_registers(Bytes& into, const arch::Registers& registers) {
  for (std::size_t i = 0; i < arch::register_names().size(); ++i)
    put<std::uint64_t>(into, arch::get_register(registers, i));
}

void put_write(Bytes& into, const Write& write) {
  put(into, write.at.value);
  put_bytes(into, write.bytes);
}

void put_site(Bytes& into, const arch::UnpredictableSite& site) {
  put(into, site.at.value);
  put(into, static_cast<std::uint8_t>(site.kind));
  put(into, site.length);
  put(into, site.target);
  put(into, site.target_bytes);
  put(into, std::to_integer<std::uint8_t>(site.original));
}

void put_file(Bytes& into, const MappedFile& file) {
  put_text(into, file.path);
  put(into, file.size_bytes);
  put(into, file.modified_ns);
}

// Which of the parts that few events have are there.
enum Parts : std::uint16_t {
  kAfter = 1,
  kXstate = 2,
  kWrites = 4,
  kNewThread = 8,
  kFile = 16,
  kSites = 32,
  kPosition = 64,
  kMemory = 128,
  kText = 256
};
constexpr std::uint16_t kAllParts = 511;

std::uint16_t parts_of(const Event& event) {
  unsigned parts = 0;
  if (event.after) parts |= kAfter;
  if (!event.xstate.empty()) parts |= kXstate;
  if (!event.writes.empty()) parts |= kWrites;
  if (event.new_thread) parts |= kNewThread;
  if (event.file) parts |= kFile;
  if (!event.sites.empty()) parts |= kSites;
  if (event.cpu_ns != 0 || event.stack_digest != 0) parts |= kPosition;
  if (!event.memory.empty()) parts |= kMemory;
  if (!event.text.empty()) parts |= kText;
  return static_cast<std::uint16_t>(parts);
}

// -- reading --

class Decoder {
 public:
  explicit Decoder(std::span<const std::byte>& bytes) : bytes_(bytes) {}

  template <typename T>
  T number() {
    T value{};
    const auto from = take(sizeof value);
    std::memcpy(&value, from.data(), sizeof value);
    return value;
  }
  // A number of an enumeration that ends at `last`.
  template <typename E>
  E choice(E last, E first = E{}) {
    const auto value = number<std::uint8_t>();
    if (value < static_cast<std::uint8_t>(first) || value > static_cast<std::uint8_t>(last))
      fail(ErrorKind::damaged, "it has a kind that there is not: {}", value);
    return static_cast<E>(value);
  }
  Bytes bytes() {
    const auto from = take(number<std::uint64_t>());
    return {from.begin(), from.end()};
  }
  std::string text() {
    const auto from = take(number<std::uint64_t>());
    return {reinterpret_cast<const char*>(from.data()), from.size()};
  }
  // Each entry takes a byte at least, so that a length cannot ask for more memory than there is.
  template <typename Read>
  auto list(Read read) {
    std::vector<std::invoke_result_t<Read>> all;
    const auto count = number<std::uint64_t>();
    if (count > bytes_.size()) fail(ErrorKind::damaged, "it has a list longer than itself");
    for (std::uint64_t i = 0; i < count; ++i) all.push_back(read());
    return all;
  }
  Addr address() { return Addr{number<std::uint64_t>()}; }
  arch::Registers registers() {
    arch::Registers made{};
    for (std::size_t i = 0; i < arch::register_names().size(); ++i)
      arch::set_register(made, i, number<std::uint64_t>());
    return made;
  }

 private:
  std::span<const std::byte> take(std::uint64_t size) {
    if (size > bytes_.size()) fail(ErrorKind::damaged, "it ends within an event");
    const auto taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  std::span<const std::byte>& bytes_;
};

Write get_write(Decoder& from) {
  Write write;
  write.at = from.address();
  write.bytes = from.bytes();
  return write;
}

arch::UnpredictableSite get_site(Decoder& from) {
  arch::UnpredictableSite site;
  site.at = from.address();
  site.kind = from.choice(static_cast<arch::Unpredictable>(arch::kUnpredictableKinds - 1));
  site.length = from.number<std::uint8_t>();
  site.target = from.number<std::uint8_t>();
  site.target_bytes = from.number<std::uint8_t>();
  site.original = std::byte{from.number<std::uint8_t>()};
  return site;
}

MappedFile get_file(Decoder& from) {
  MappedFile file;
  file.path = from.text();
  file.size_bytes = from.number<std::uint64_t>();
  file.modified_ns = from.number<std::int64_t>();
  return file;
}

WindowDigest get_window(Decoder& from) {
  WindowDigest window;
  window.window = from.address();
  window.digest = from.number<std::uint64_t>();
  return window;
}

StartMapping get_mapping(Decoder& from) {
  StartMapping mapping;
  mapping.start = from.address();
  mapping.end = from.address();
  mapping.path = from.text();
  return mapping;
}

void get_parts(Decoder& from, std::uint16_t parts, Event& event) {
  if ((parts & kAfter) != 0) event.after = from.registers();
  if ((parts & kXstate) != 0) event.xstate = from.bytes();
  if ((parts & kWrites) != 0) event.writes = from.list([&] { return get_write(from); });
  if ((parts & kNewThread) != 0) event.new_thread = from.number<std::uint32_t>();
  if ((parts & kFile) != 0) event.file = get_file(from);
  if ((parts & kSites) != 0) event.sites = from.list([&] { return get_site(from); });
  if ((parts & kPosition) != 0) {
    event.cpu_ns = from.number<std::uint64_t>();
    event.stack_digest = from.number<std::uint64_t>();
  }
  if ((parts & kMemory) != 0) event.memory = from.list([&] { return get_window(from); });
  if ((parts & kText) != 0) event.text = from.text();
}

}  // namespace

void encode(const Start& start, Bytes& into) {
  put_text(into, start.program);
  put_list(into, start.arguments, put_text);
  put_list(into, start.environment, put_text);
  put_list(into, start.mappings, [](Bytes& out, const StartMapping& mapping) {
    put(out, mapping.start.value);
    put(out, mapping.end.value);
    put_text(out, mapping.path);
  });
  put_list(into, start.files, put_file);
  put_list(into, start.sites, put_site);
  put_registers(into, start.registers);
  put_write(into, start.stack);
}

void encode(const Event& event, Bytes& into) {
  const std::uint16_t parts = parts_of(event);
  put(into, static_cast<std::uint8_t>(event.kind));
  put(into, static_cast<std::uint8_t>(event.place));
  put(into, static_cast<std::uint8_t>(event.reason));
  put(into, parts);
  put(into, event.thread);
  put(into, event.number);
  put(into, event.result);
  put_registers(into, event.at);
  if (event.after) put_registers(into, *event.after);
  if (!event.xstate.empty()) put_bytes(into, event.xstate);
  if (!event.writes.empty()) put_list(into, event.writes, put_write);
  if (event.new_thread) put(into, *event.new_thread);
  if (event.file) put_file(into, *event.file);
  if (!event.sites.empty()) put_list(into, event.sites, put_site);
  if ((parts & kPosition) != 0) {
    put(into, event.cpu_ns);
    put(into, event.stack_digest);
  }
  if (!event.memory.empty())
    put_list(into, event.memory, [](Bytes& out, const WindowDigest& window) {
      put(out, window.window.value);
      put(out, window.digest);
    });
  if (!event.text.empty()) put_text(into, event.text);
}

Start decode_start(std::span<const std::byte>& bytes) {
  Decoder from(bytes);
  Start start;
  start.program = from.text();
  start.arguments = from.list([&] { return from.text(); });
  start.environment = from.list([&] { return from.text(); });
  start.mappings = from.list([&] { return get_mapping(from); });
  start.files = from.list([&] { return get_file(from); });
  start.sites = from.list([&] { return get_site(from); });
  start.registers = from.registers();
  start.stack = get_write(from);
  return start;
}

Event decode_event(std::span<const std::byte>& bytes) {
  Decoder from(bytes);
  Event event;
  event.kind = from.choice(EventKind::end, EventKind::call);
  event.place = from.choice(SignalPlace::fault);
  event.reason = from.choice(EndReason::refused);
  const auto parts = from.number<std::uint16_t>();
  if (parts > kAllParts) fail(ErrorKind::damaged, "it has parts that there are not");
  event.thread = from.number<std::uint32_t>();
  event.number = from.number<std::int64_t>();
  event.result = from.number<std::int64_t>();
  event.at = from.registers();
  get_parts(from, parts, event);
  return event;
}

}  // namespace ckpt::recording
