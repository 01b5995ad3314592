// Pipes and FIFOs: what is in them, in packets where they are in packet mode (pipe(2)).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "image/fields.hpp"
#include "state/files/file_source.hpp"

namespace ckpt::state {

struct Pipe {
  std::uint64_t id = 0;              // inode: the ends of one pipe have the same
  std::uint64_t capacity_bytes = 0;  // 0 if unknown
  bool named = false;
  std::uint64_t device = 0;          // of a FIFO's file
  std::uint32_t mode = 0600;         // likewise
  bool removed = false;              // a FIFO that has no name any more
  bool ended = false;                // no process had the end that the program does not have
  std::vector<std::string> content;  // one piece, or packets
};

/// `reader`: any descriptor that reads from it. Nothing is taken out.
Pipe read_pipe(int reader, std::uint64_t id);
/// Whether no process has the other end any more; `end`: the program's own description.
bool has_ended(int end);

const image::Fields<Pipe>& fields_of(const Pipe* /*type*/);

/// All pipes of a program, made again in the restoring one.
class PipeMaker {
 public:
  /// `files` knows from whom the program must be kept apart.
  explicit PipeMaker(FileSource& files) : files_(files) {}

  /// `path`: of a FIFO; one that is still there and empty is used again, and where there is nothing
  /// it is made again. Idempotent.
  void make(const Pipe& pipe, const std::string& path, bool packets);
  void fill(const Pipe& pipe);
  /// A description of its own for an end; `flags` as in open(2).
  [[nodiscard]] UniqueFd open(const Pipe& pipe, std::uint32_t flags);
  /// When all is opened: the ends that another process had at the save, by the pipe's id.
  [[nodiscard]] std::map<std::uint64_t, UniqueFd> take_far_ends();

 private:
  struct Ends {
    UniqueFd reader;
    UniqueFd writer;
    bool filled = false;
    std::array<bool, 2> given{};  // reader, writer: to a description of the program
    bool has_reader = false;      // the program, or another process that reads from a FIFO
    bool has_writer = false;
    bool ended = false;
  };
  // Why the program gets a pipe without a name in place of the FIFO; empty if it does not.
  std::string open_named(const std::string& path, const Pipe& pipe, Ends& ends);

  FileSource& files_;
  std::map<std::uint64_t, Ends> made_;
};

}  // namespace ckpt::state
