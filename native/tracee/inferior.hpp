// The stopped process that is being worked on: where it is looked at, its memory, a thread of it
// that runs system calls for us, and room in its memory for what those are given and answer.
//
// A call is made by call() or attempt(), many at once by a Batch:
//
//   const auto answer = inferior.reserve<rlimit>();
//   inferior.call("prlimit", SYS_prlimit64, {0, RLIMIT_NOFILE, 0, answer});
//   use(answer.read());
//
//   tracee::Batch batch(inferior);
//   for (const auto& map : mappings) batch.add(SYS_munmap, {map.start, map.size()});
//   batch.run_all("munmap");
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/types.hpp"
#include "proc/process_dir.hpp"
#include "tracee/memory.hpp"
#include "tracee/remote.hpp"

namespace ckpt::tracee {

class Inferior;

/// Memory of the inferior for an argument or an answer, for as long as this lives. Pieces go in the
/// reverse order of their making, as variables of a scope do.
class Piece {
 public:
  Piece(Inferior& inferior, std::uint64_t bytes);
  Piece(Inferior& inferior, std::span<const std::byte> content);
  Piece(const Piece&) = delete;
  Piece& operator=(const Piece&) = delete;
  ~Piece();

  [[nodiscard]] Addr at() const { return at_; }
  [[nodiscard]] std::uint64_t size_bytes() const { return bytes_; }
  void read(std::span<std::byte> into) const;
  void write(std::span<const std::byte> bytes) const;

 private:
  Inferior& inferior_;
  std::uint64_t used_before_;
  Addr at_;
  std::uint64_t bytes_;
};

/// The same for one value.
template <typename T>
class ValuePiece : public Piece {
 public:
  explicit ValuePiece(Inferior& inferior) : Piece(inferior, sizeof(T)) {}
  ValuePiece(Inferior& inferior, const T& value) : ValuePiece(inferior) { write(value); }

  [[nodiscard]] T read() const {
    T value{};
    Piece::read(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void write(const T& value) const { Piece::write(std::as_bytes(std::span(&value, 1))); }
};

/// An argument of a system call: a number, an address, a piece of memory.
struct Argument {
  // NOLINTBEGIN(google-explicit-constructor): so that a call reads as one
  template <typename T>
  requires std::integral<T> || std::is_enum_v<T>
  constexpr Argument(T number) : value(static_cast<std::uint64_t>(number)) {}
  constexpr Argument(Addr address) : value(address.value) {}
  Argument(const Piece& piece) : value(piece.at().value) {}
  // NOLINTEND(google-explicit-constructor)
  std::uint64_t value;
};
using Arguments = std::initializer_list<Argument>;

/// The errno that the raw result of a system call stands for; 0 if it has not failed.
int error_of(std::int64_t result) noexcept;

class Inferior {
 public:
  /// Needs ptrace access to the process, which need not be stopped until it is to run calls.
  explicit Inferior(Tid pid);
  Inferior(const Inferior&) = delete;
  Inferior& operator=(const Inferior&) = delete;

  const proc::ProcessDir process;
  const Memory memory;

  [[nodiscard]] Tid pid() const { return process.pid(); }
  /// The thread that runs calls at present; see Turn. Throws std::logic_error where none does.
  [[nodiscard]] RemoteThread& thread() const;
  [[nodiscard]] Tid tid() const { return thread().tid(); }
  /// Where it runs them.
  [[nodiscard]] const Scratch& scratch() const;

  /// Makes one call and returns its raw result: -errno on failure.
  std::int64_t attempt(long number, Arguments arguments);
  /// The same; throws Error naming `what` when it fails.
  std::uint64_t call(const char* what, long number, Arguments arguments);
  /// Makes a call of a Batch once more and returns it with its new result.
  LoopEntry again(LoopEntry call);

  /// Room in the inferior's memory. Throws Error (refused) where there is too little.
  [[nodiscard]] Piece reserve(std::uint64_t bytes) { return {*this, bytes}; }
  template <typename T>
  [[nodiscard]] ValuePiece<T> reserve() {
    return ValuePiece<T>(*this);
  }
  /// A copy of an argument.
  [[nodiscard]] Piece put(std::span<const std::byte> bytes) { return {*this, bytes}; }
  [[nodiscard]] Piece put(std::string_view bytes) {
    return {*this, std::as_bytes(std::span(bytes))};
  }
  /// The string with its end.
  [[nodiscard]] Piece put_string(const std::string& text) {
    return put(std::string_view(text.c_str(), text.size() + 1));
  }
  template <typename T>
  [[nodiscard]] ValuePiece<T> put_value(const T& value) {
    return {*this, value};
  }
  /// What could be reserved.
  [[nodiscard]] std::uint64_t room_bytes() const;

  /// For a Batch: runs the calls, with their table in what room is left.
  void run(std::span<LoopEntry> table, bool stop_at_failure, const char* what);

 private:
  friend class Piece;
  friend class Turn;

  RemoteThread* thread_ = nullptr;
  std::optional<Scratch> scratch_;
  std::uint64_t used_bytes_ = 0;  // by pieces, which lie in front of the table of calls
};

/// For as long as this lives, calls run in this thread; then again in the one before.
class Turn {
 public:
  /// In a scratch area of that process's.
  Turn(Inferior& inferior, RemoteThread& thread, const Scratch& scratch);
  /// In the same scratch area as those of the thread before.
  Turn(Inferior& inferior, RemoteThread& thread);
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn();

 private:
  Inferior& inferior_;
  RemoteThread* before_;
  std::optional<Scratch> scratch_before_;
};

/// Calls that are made one after the other without a stop in between.
class Batch {
 public:
  explicit Batch(Inferior& inferior) : inferior_(inferior) {}

  /// Returns the call, to which others may be added before it is looked at again.
  LoopEntry& add(long number, Arguments arguments);
  void add(const LoopEntry& call) { calls_.push_back(call); }
  void clear() { calls_.clear(); }

  /// Makes all of them, whatever becomes of those before.
  void run() { inferior_.run(calls_, false, ""); }
  /// Ends at the first that fails, and throws an Error naming `what`.
  void run_all(const char* what) { inferior_.run(calls_, true, what); }

  [[nodiscard]] bool empty() const { return calls_.empty(); }
  [[nodiscard]] std::size_t size() const { return calls_.size(); }
  [[nodiscard]] LoopEntry& operator[](std::size_t index) { return calls_.at(index); }
  [[nodiscard]] std::int64_t result(std::size_t index) const { return calls_.at(index).result; }
  [[nodiscard]] auto begin() { return calls_.begin(); }
  [[nodiscard]] auto end() { return calls_.end(); }
  [[nodiscard]] auto begin() const { return calls_.begin(); }
  [[nodiscard]] auto end() const { return calls_.end(); }

 private:
  Inferior& inferior_;
  std::vector<LoopEntry> calls_;
};

}  // namespace ckpt::tracee
