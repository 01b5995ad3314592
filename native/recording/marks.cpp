#include "recording/marks.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "arch/syscall_rules.hpp"

namespace ckpt::recording {

namespace {

constexpr std::uint64_t kMostOfAKind = 2000;

std::string_view name_of_call(const Event& event) {
  const auto* rule = arch::syscall_rule(static_cast<arch::Word>(event.number));
  return rule == nullptr ? std::string_view{} : rule->name;
}

bool is_end_of_thread(const Event& event) {
  const auto* rule = arch::syscall_rule(static_cast<arch::Word>(event.number));
  const bool is_call = event.kind == EventKind::call || event.kind == EventKind::enter;
  return is_call && rule != nullptr && rule->handling == arch::Handling::end_thread;
}

}  // namespace

std::optional<Output> output_of(const Event& event) {
  const bool has_result = event.kind == EventKind::call || event.kind == EventKind::leave;
  if (!has_result || event.result <= 0) return std::nullopt;
  const auto name = name_of_call(event);
  if (name != "write" && name != "writev") return std::nullopt;
  const auto fd = static_cast<int>(event.at.arg(0));
  if (fd != STDOUT_FILENO && fd != STDERR_FILENO) return std::nullopt;
  return Output{fd, static_cast<std::uint64_t>(event.result)};
}

std::string read_output(const Event& event, const tracee::Memory& memory) {
  constexpr std::uint64_t kMost = 1U << 20U;
  const auto output = output_of(event);
  if (!output) return {};
  std::uint64_t left = std::min(output->bytes, kMost);
  std::string text;
  const auto read = [&](Addr at, std::uint64_t size_bytes) {
    std::vector<std::byte> bytes(std::min(size_bytes, left));
    bytes.resize(memory.read_some(at, bytes));
    text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    left -= bytes.size();
    return !bytes.empty() || size_bytes == 0;
  };
  const Addr buffer{event.at.arg(1)};
  if (name_of_call(event) == "write") {
    read(buffer, output->bytes);
    return text;
  }
  for (Addr at = buffer; left > 0; at = at + sizeof(iovec)) {
    iovec part{};
    if (memory.read_some(at, std::as_writable_bytes(std::span(&part, 1))) != sizeof part) break;
    if (!read(Addr{reinterpret_cast<std::uint64_t>(part.iov_base)}, part.iov_len)) break;
  }
  return text;
}

void Marks::note(std::uint64_t index, const Event& event) {
  Mark mark{.event = index, .thread = event.thread, .number = event.number};
  if (event.kind == EventKind::signal) {
    add(mark);
  } else if (event.kind == EventKind::end) {
    mark.kind = Mark::Kind::end;
    mark.reason = event.reason;
    if (event.reason == EndReason::exited)
      mark.number = static_cast<std::int64_t>(event.at.arg(0) & 0xffU);
    add(mark);
  } else if (event.new_thread) {
    mark.kind = Mark::Kind::thread_started;
    mark.thread = *event.new_thread;
    add(mark);
  } else if (is_end_of_thread(event)) {
    mark.kind = Mark::Kind::thread_ended;
    add(mark);
  } else if (const auto output = output_of(event)) {
    mark.kind = Mark::Kind::output;
    mark.number = output->fd;
    mark.bytes = output->bytes;
    add(mark);
  }
}

std::uint64_t Marks::count(Mark::Kind kind) const {
  return kept_.at(static_cast<std::size_t>(kind)).seen;
}

void Marks::add(const Mark& mark) {
  Kept& kept = kept_.at(static_cast<std::size_t>(mark.kind));
  if (kept.seen++ % kept.every != 0) return;
  all_.push_back(mark);
  if (++kept.held > kMostOfAKind) thin_out(mark.kind, kept);
}

void Marks::thin_out(Mark::Kind kind, Kept& kept) {
  std::uint64_t nth = 0;
  std::erase_if(all_, [&](const Mark& mark) { return mark.kind == kind && nth++ % 2 != 0; });
  kept.held = (kept.held + 1) / 2;
  kept.every *= 2;
}

}  // namespace ckpt::recording
