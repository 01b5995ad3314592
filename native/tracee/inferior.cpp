#include "tracee/inferior.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "base/error.hpp"

namespace ckpt::tracee {

namespace {

std::array<std::uint64_t, 6> all_of(Arguments arguments) {
  std::array<std::uint64_t, 6> all{};
  std::transform(arguments.begin(), arguments.end(), all.begin(),
                 [](const Argument& argument) { return argument.value; });
  return all;
}

constexpr std::uint64_t kPieceAlignment = 16;
// So many that a run of calls is worth the stop.
constexpr std::uint64_t kLeastTable = 16 * sizeof(LoopEntry);

}  // namespace

int error_of(std::int64_t result) noexcept {
  constexpr std::int64_t kLastErrno = 4095;
  return result < 0 && result >= -kLastErrno ? static_cast<int>(-result) : 0;
}

Piece::Piece(Inferior& inferior, std::uint64_t bytes)
    : inferior_(inferior), used_before_(inferior.used_bytes_), bytes_(bytes) {
  if (bytes > inferior.room_bytes())
    fail(ErrorKind::refused, "{} bytes are too many for an argument of a call", bytes);
  at_ = inferior.scratch().data + used_before_;
  inferior.used_bytes_ += (bytes + kPieceAlignment - 1) & ~(kPieceAlignment - 1);
}

Piece::Piece(Inferior& inferior, std::span<const std::byte> content)
    : Piece(inferior, content.size()) {
  write(content);
}

Piece::~Piece() { inferior_.used_bytes_ = used_before_; }

void Piece::read(std::span<std::byte> into) const {
  inferior_.memory.read(at_, into.first(std::min<std::size_t>(into.size(), bytes_)));
}

void Piece::write(std::span<const std::byte> bytes) const {
  inferior_.memory.write(at_, bytes.first(std::min<std::size_t>(bytes.size(), bytes_)));
}

Inferior::Inferior(Tid pid) : process(pid), memory(process.through()) {}

RemoteThread& Inferior::thread() const {
  if (thread_ == nullptr) throw std::logic_error("no thread of the inferior is to run calls");
  return *thread_;
}

const Scratch& Inferior::scratch() const {
  if (!scratch_) throw std::logic_error("the inferior has no scratch area");
  return *scratch_;
}

std::int64_t Inferior::attempt(long number, Arguments arguments) {
  return thread().call(number, all_of(arguments));
}

std::uint64_t Inferior::call(const char* what, long number, Arguments arguments) {
  const std::int64_t result = attempt(number, arguments);
  if (const int error = error_of(result)) throw_errno(what, error);
  return static_cast<std::uint64_t>(result);
}

LoopEntry Inferior::again(LoopEntry call) {
  call.result = thread().call(static_cast<long>(call.number), std::to_array(call.arguments));
  return call;
}

std::uint64_t Inferior::room_bytes() const {
  const std::uint64_t taken = used_bytes_ + kLeastTable;
  return scratch().data_bytes > taken ? scratch().data_bytes - taken : 0;
}

void Inferior::run(std::span<LoopEntry> table, bool stop_at_failure, const char* what) {
  Scratch left = scratch();
  left.data = left.data + used_bytes_;
  left.data_bytes -= used_bytes_;
  thread().run(left, table, stop_at_failure, what);
}

Turn::Turn(Inferior& inferior, RemoteThread& thread, const Scratch& scratch)
    : inferior_(inferior), before_(inferior.thread_), scratch_before_(inferior.scratch_) {
  thread.enter(scratch);
  inferior.thread_ = &thread;
  inferior.scratch_ = scratch;
}

Turn::Turn(Inferior& inferior, RemoteThread& thread) : Turn(inferior, thread, inferior.scratch()) {}

Turn::~Turn() {
  inferior_.thread_ = before_;
  inferior_.scratch_ = scratch_before_;
}

LoopEntry& Batch::add(long number, Arguments arguments) {
  LoopEntry& call = calls_.emplace_back();
  call.number = static_cast<std::uint64_t>(number);
  const auto all = all_of(arguments);
  std::copy(all.begin(), all.end(), std::begin(call.arguments));
  return call;
}

}  // namespace ckpt::tracee
