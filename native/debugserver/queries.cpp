// What is where the recording is now.
#include <algorithm>
#include <cstring>

#include "arch/syscall_rules.hpp"
#include "arch/target_description.hpp"
#include "base/error.hpp"
#include "debugserver/agent_expression.hpp"
#include "debugserver/server.hpp"
#include "tracee/ptrace.hpp"

namespace ckpt::debugserver {

namespace {

// No answer is longer than the packets that we have said to take.
constexpr std::uint64_t kMostMemoryBytes = 0x10000 - 16;

std::optional<std::uint64_t> register_word(const replayer::Task& task, std::uint64_t number) {
  const auto place = arch::described_register(number);
  if (place.size_bytes == 0) return std::nullopt;
  const auto all = arch::described_registers(task.registers(), tracee::get_xstate(task.pid()));
  std::uint64_t word = 0;
  std::memcpy(&word, all.data() + place.offset, std::min(place.size_bytes, sizeof word));
  return word;
}

// Names of threads may be any bytes.
std::string in_xml(std::string_view text) {
  std::string safe;
  for (const char byte : text) {
    constexpr std::string_view kMeant = "<>&\"'";
    const bool is_plain = byte >= ' ' && byte <= '~' && kMeant.find(byte) == kMeant.npos;
    if (is_plain)
      safe += byte;
    else if (kMeant.find(byte) != kMeant.npos)
      safe += fmt::format("&#{};", static_cast<int>(byte));
    else
      safe += '?';
  }
  return safe;
}

}  // namespace

const replayer::Replay& Server::shown() const {
  return trial_ ? trial_->replay() : timeline_.now();
}

std::uint64_t Server::id_of(std::uint32_t thread) const {
  const auto& ids = timeline_.history().thread_ids();
  const auto found = ids.find(thread);
  return found == ids.end() ? thread + 1 : static_cast<std::uint64_t>(found->second);
}

std::optional<std::uint32_t> Server::thread_of(std::uint64_t id) const {
  for (const auto& [thread, tid] : timeline_.history().thread_ids())
    if (static_cast<std::uint64_t>(tid) == id) return thread;
  return std::nullopt;
}

bool Server::is_alive(std::uint32_t thread) const {
  const auto& threads = timeline_.now().threads();
  const auto found = threads.find(thread);
  return found != threads.end() && !found->second.ended;
}

std::vector<std::byte> Server::registers_of(std::uint32_t thread) const {
  const auto& replay = shown();
  if (thread == replay.current()) {
    // The same at each visit, by whatever way.
    auto registers = replay.task().registers();
    arch::clear_traces_of_stepping(registers);
    return arch::described_registers(registers, tracee::get_xstate(replay.task().pid()));
  }
  const auto found = replay.threads().find(thread);
  if (found == replay.threads().end()) fail(ErrorKind::not_found, "no thread {}", thread);
  return arch::described_registers(found->second.registers, found->second.xstate);
}

// 0 and -1 are any thread and all of them.
std::string Server::select_thread(Words packet) {
  const bool for_motion = packet.take("c");
  if (!for_motion && !packet.take("g")) return "E01";
  const auto id = packet.number();
  const auto thread = id ? thread_of(*id) : std::nullopt;
  if (id && *id != 0 && !thread) return "E01";
  if (for_motion)
    motion_thread_ = thread;
  else
    registers_thread_ = thread.value_or(timeline_.now().current());
  return "OK";
}

std::string Server::one_register(Words packet) const {
  const auto place = arch::described_register(packet.number().value_or(~0ULL));
  if (place.size_bytes == 0) return "E01";
  const auto all = registers_of(registers_thread_);
  return to_hex(std::span(all).subspan(place.offset, place.size_bytes));
}

std::string Server::read_memory(Words packet) const {
  const auto at = packet.number();
  if (!at || !packet.take(",")) return "E01";
  const auto size_bytes = packet.number();
  if (!size_bytes) return "E01";
  const auto& replay = shown();
  std::vector<std::byte> bytes(std::min(*size_bytes, kMostMemoryBytes));
  bytes.resize(replay.task().memory().read_some(Addr{*at}, bytes));
  if (bytes.empty() && *size_bytes != 0) return "E01";
  replay.sites().hide(Addr{*at}, bytes);
  return to_hex(bytes);
}

std::string Server::change_breakpoint(Words packet, bool insert) {
  using Kind = timeline::Watch::Kind;
  if (packet.take("2")) return change_watch(packet, Kind::write, insert);
  if (packet.take("3")) return change_watch(packet, Kind::read, insert);
  if (packet.take("4")) return change_watch(packet, Kind::access, insert);
  const bool hardware = packet.take("1");
  // Of other kinds there are none.
  if (!hardware && !packet.take("0")) return {};
  if (!packet.take(",")) return "E01";
  const auto at = packet.number();
  if (!at) return "E01";
  std::byte first{};
  if (insert && shown().task().memory().read_some(Addr{*at}, std::span(&first, 1)) == 0)
    return "E01";
  auto& all = timeline_.breakpoints();
  if (insert) {
    if (packet.take(",")) packet.number();
    all.set(Addr{*at}, condition_in(packet));
  }
  if (insert && hardware) hardware_breakpoints_.insert(Addr{*at});
  if (!insert) all.clear(Addr{*at});
  if (!insert) hardware_breakpoints_.erase(Addr{*at});
  return "OK";
}

std::string Server::change_watch(Words packet, timeline::Watch::Kind kind, bool insert) {
  const auto at = packet.take(",") ? packet.number() : std::nullopt;
  const auto size_bytes = packet.take(",") ? packet.number() : std::nullopt;
  if (!at || size_bytes.value_or(0) == 0 || *size_bytes > kMostWatchedBytes) return "E01";
  const timeline::Watch watch{Addr{*at}, *size_bytes, kind};
  auto& all = timeline_.watches();
  if (insert)
    all.add(watch);
  else
    all.remove(watch);
  return "OK";
}

// ";X" and the length of an expression and its code, for each condition: one that holds is enough,
// and so is one that cannot be evaluated, which GDB is then to say.
timeline::Breakpoints::Condition Server::condition_in(Words packet) const {
  std::vector<std::vector<std::byte>> conditions;
  while (packet.take(";X")) {
    const auto size_bytes = packet.number();
    if (!size_bytes || !packet.take(",")) return {};
    const auto text = packet.rest().substr(0, 2 * *size_bytes);
    auto code = from_hex(text);
    if (!code || code->size() != *size_bytes) return {};
    packet.take(text);
    conditions.push_back(std::move(*code));
  }
  if (conditions.empty()) return {};
  return [this, conditions = std::move(conditions)](const replayer::Task& task) {
    const ExpressionSource source{
        [&](Addr at, std::span<std::byte> into) {
          const bool whole = task.memory().read_some(at, into) == into.size();
          timeline_.now().sites().hide(at, into);
          return whole;
        },
        [&](std::uint64_t number) { return register_word(task, number); }};
    return std::any_of(conditions.begin(), conditions.end(),
                       [&](const auto& code) { return evaluate(code, source).value_or(1) != 0; });
  };
}

std::string Server::thread_list() const {
  std::string list = "m";
  for (const auto& [thread, _] : timeline_.now().threads())
    if (is_alive(thread) || thread == timeline_.now().current())
      list += fmt::format("{}{:x}", list.size() > 1 ? "," : "", id_of(thread));
  return list;
}

std::string Server::threads_xml() const {
  std::string text = "<threads>\n";
  for (const auto& [thread, state] : shown().threads()) {
    if (!is_alive(thread) && thread != shown().current()) continue;
    text += fmt::format("<thread id=\"{:x}\" name=\"{}\"/>\n", id_of(thread), in_xml(state.name));
  }
  return text + "</threads>\n";
}

// GDB offers to look symbols up: first without any, then with an address, or none, of what was
// asked for.
std::string Server::look_symbol_up(Words packet) {
  constexpr std::string_view kModule = "_thread_db_link_map_l_tls_modid";
  if (packet.rest() == ":") return "qSymbol:" + to_hex(kModule);
  const auto at = packet.number();
  // A description of the field, as libthread_db wants it: its size in bits, 1, and its offset.
  std::array<std::uint32_t, 3> field{};
  if (at && shown().task().memory().read_some(
                Addr{*at}, std::as_writable_bytes(std::span(field))) == sizeof field)
    module_offset_ = Addr{field[2]};
  return "OK";
}

// Through the thread's vector of its modules' memory, whose form the x86-64 ABI and all versions of
// glibc have in common.
std::string Server::thread_local_address(Words packet) const {
  const auto id = packet.number();
  const auto offset = packet.take(",") ? packet.number() : std::nullopt;
  const auto map = packet.take(",") ? packet.number() : std::nullopt;
  const auto thread = id ? thread_of(*id) : std::nullopt;
  if (!thread || !offset || !map || !module_offset_) return "E01";
  const auto& replay = shown();
  const auto& memory = replay.task().memory();
  const Addr pointer = *thread == replay.current()
                           ? replay.task().registers().thread_pointer()
                           : replay.threads().at(*thread).registers.thread_pointer();
  const auto word = [&](Addr at) { return memory.read_value<std::uint64_t>(at); };
  const std::uint64_t module = word(Addr{*map} + module_offset_->value);
  const Addr vector{word(pointer + arch::kModuleVectorAt)};
  const std::uint64_t start = word(vector + module * arch::kModuleEntryBytes);
  // The memory may not have been asked for yet.
  constexpr std::uint64_t kNone = ~0ULL;
  return module == 0 || start == kNone ? "E01" : fmt::format("{:x}", start + *offset);
}

// As the program has found it on its stack: behind the arguments and the environment.
std::string Server::auxiliary_vector() const {
  constexpr std::size_t kWordBytes = sizeof(std::uint64_t);
  const auto& stack = timeline_.history().start().stack.bytes;
  std::vector<std::uint64_t> words(stack.size() / kWordBytes);
  std::memcpy(words.data(), stack.data(), words.size() * kWordBytes);
  if (words.empty() || words[0] > words.size() - 1) return {};
  // The words are the count of arguments, these, a null, the environment and a null.
  const auto arguments = words.begin() + static_cast<std::ptrdiff_t>(1 + words[0]);
  if (arguments == words.end()) return {};
  const auto environment_end = std::find(arguments + 1, words.end(), 0U);
  if (environment_end == words.end()) return {};
  const auto begin = environment_end + 1;
  auto end = begin;
  while (words.end() - end >= 2 && *end != 0) end += 2;
  if (words.end() - end >= 2) end += 2;
  const auto* first = reinterpret_cast<const char*>(words.data()) +
                      static_cast<std::size_t>(begin - words.begin()) * kWordBytes;
  return {first, static_cast<std::size_t>(end - begin) * kWordBytes};
}

}  // namespace ckpt::debugserver
