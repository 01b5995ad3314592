// Starts a program to be recorded or replayed, traced from its first instruction on.
#pragma once

#include <string>
#include <vector>

#include "recording/event.hpp"
#include "tracee/child.hpp"
#include "tracee/memory.hpp"

namespace ckpt::recording {

struct Command {
  std::string program;  // the path of the executable
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
};

/// The program stands at its first instruction. Addresses are not randomized. `silent`: without the
/// standard descriptors.
/// Throws Error.
tracee::Child launch(const Command& command, unsigned long trace_options, bool silent);

/// Hides the kernel's functions (vdso) from a program at its first instruction: the calls that they
/// make without the kernel are then made with it.
void hide_vdso(const tracee::Memory& memory, const arch::Registers& registers);

/// What a replay must find at its start. Does not look for instructions.
Start describe_start(const Command& command, Tid pid, const tracee::Memory& memory);

/// CPU time that a process has used.
std::uint64_t process_cpu_ns(Tid pid);

/// The file at that path now. Throws Error.
MappedFile describe_file(const std::string& path);

}  // namespace ckpt::recording
