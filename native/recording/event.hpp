// What a recording consists of: how the program was started, and what happened to it, in order.
// docs/recording-format.md has the bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arch/arch.hpp"
#include "arch/unpredictable.hpp"
#include "base/types.hpp"

namespace ckpt::recording {

enum class EventKind : std::uint8_t {
  call = 1,     // a system call, from its entry to its exit
  enter,        // a system call that blocks: other threads run before its exit
  leave,        // the exit of a call that was entered
  signal,       // a signal's handler is entered
  instruction,  // one whose result is not a function of the program's state
  preemption,   // the thread is stopped at a position that no other event names
  end           // the last event
};

/// Where a thread is when a signal comes.
enum class SignalPlace : std::uint8_t {
  boundary = 0,  // where its last event has left it
  at_call,       // before a system call
  fault          // at an instruction that causes the signal
};

enum class EndReason : std::uint8_t {
  exited = 0,  // exit_group, or the last thread's exit: at a call
  signal,      // a signal has ended the process
  killed,      // it is gone, at no known position
  refused      // the recording cannot go on; `text` says why
};

struct Write {
  Addr at;
  std::vector<std::byte> bytes;
  bool operator==(const Write&) const = default;
};

/// A digest of the pages in a window of the address space that are not all zeros.
struct WindowDigest {
  Addr window;
  std::uint64_t digest = 0;
  bool operator==(const WindowDigest&) const = default;
};

/// A file of which a mapping was made, to recognize it by.
struct MappedFile {
  std::string path;
  std::uint64_t size_bytes = 0;
  std::int64_t modified_ns = 0;
  bool operator==(const MappedFile&) const = default;
};

struct Event {
  EventKind kind = EventKind::call;
  std::uint32_t thread = 0;  // in the order of their creation
  std::int64_t number = 0;   // of the system call, or of the signal
  std::int64_t result = 0;
  SignalPlace place = SignalPlace::boundary;  // of a signal, and of an end by a signal
  EndReason reason = EndReason::exited;
  arch::Registers at{};  // a call: at its entry; else where the thread was
  /// What the thread goes on with, if that is not what arch::after_call() says. Of a thread that
  /// was made: its first registers.
  std::optional<arch::Registers> after;
  std::vector<std::byte> xstate;  // likewise, of the extended state; empty: as it was
  std::vector<Write> writes;
  std::optional<std::uint32_t> new_thread;
  std::optional<MappedFile> file;
  std::vector<arch::UnpredictableSite> sites;  // in code that the call has made executable
  std::uint64_t cpu_ns = 0;                    // of the thread since its last event
  std::uint64_t stack_digest = 0;              // of a preemption: kStackDigestBytes of its stack
  std::vector<WindowDigest> memory;            // of all writable memory; empty: not taken
  std::string text;
  bool operator==(const Event& other) const;
};

inline constexpr std::size_t kStackDigestBytes = 2048;

struct StartMapping {
  Addr start;
  Addr end;
  std::string path;
  bool operator==(const StartMapping&) const = default;
};

/// The program at its first instruction.
struct Start {
  std::string program;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  std::vector<StartMapping> mappings;
  std::vector<MappedFile> files;
  std::vector<arch::UnpredictableSite> sites;
  arch::Registers registers{};
  Write stack;
};

}  // namespace ckpt::recording
