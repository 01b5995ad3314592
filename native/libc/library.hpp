// The C library inside a program, as far as thread ids are concerned: the functions that take or
// give ids, the code that means the kernel's ids when it calls them, and the functions that may
// have an id in a register.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/types.hpp"
#include "proc/pagemap.hpp"
#include "tracee/memory.hpp"

namespace ckpt::libc {

/// An ELF file that a program has mapped.
struct MappedObject {
  std::string path;  // where its content can be read
  std::string name;  // the path it was loaded from
  Addr start;        // where its first byte is mapped
  std::vector<proc::PageRun> code;
  bool is_program = false;
};

struct LibraryFunction {
  std::string name;
  Addr address;
  std::uint64_t size_bytes = 0;
};

/// A file that has code of the library, and where its address 0 is.
struct LibraryObject {
  std::string path;
  std::uint64_t bias = 0;
};

struct Library {
  std::vector<LibraryObject> objects;
  std::vector<LibraryFunction> functions;  // WantedFunctions::is_boundary
  std::vector<LibraryFunction> resulting;  // WantedFunctions::is_resulting
  std::vector<proc::PageRun> internal;     // ascending
  std::vector<proc::PageRun> locking;      // ascending
  std::vector<proc::PageRun> asking;       // functions that ask for ids for the library itself
  std::vector<proc::PageRun> clocks;       // functions that are given a clock and return none
  bool is_within_program = false;          // a static one, whose other code it may call
  Addr errno_location;                     // the function, if there is one,
  std::int64_t errno_offset = 0;           // else where errno is from the FS base; 0: unknown
  Addr id_descriptor;                      // what glibc tells debuggers of struct pthread's tid
  bool is_static = false;                  // the program needs no interpreter

  /// Whether ids that the program remembers can be translated.
  [[nodiscard]] bool found() const {
    return !functions.empty() && (errno_location || errno_offset != 0);
  }
  /// Whether a thread that stopped at `address` may hold an id in a register.
  [[nodiscard]] bool is_locking(Addr address) const;
  /// Whether a function there uses ids that the library itself has asked for.
  [[nodiscard]] bool is_asking(Addr address) const;
  /// Whether a function there has a clock, which may be that of a process, as its argument.
  [[nodiscard]] bool is_clock(Addr address) const;
  /// Whether a thread at `address` may be in one of these, or in one that they have called.
  [[nodiscard]] bool may_ask(Addr address) const;
  /// Where the descriptor at `thread` (a pthread_t) has the thread's id; nothing if the library
  /// does not tell.
  [[nodiscard]] std::optional<Addr> id_field(const tracee::Memory& memory, Addr thread) const;
};

/// Whether a file of that name is a C library or a part of one.
bool is_library_name(std::string_view path);

/// The functions to look for, by their names.
struct WantedFunctions {
  bool (*is_boundary)(std::string_view name);   // takes or gives ids
  bool (*is_resulting)(std::string_view name);  // makes a system call whose result has an id
};

/// Looks for a C library among the objects: glibc or musl, dynamic, or static with symbols. What
/// cannot be read is as if it were not there.
Library find_library(std::span<const MappedObject> objects, const WantedFunctions& wanted);

}  // namespace ckpt::libc
