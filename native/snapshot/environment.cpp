#include "snapshot/environment.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "libc/elf_symbols.hpp"
#include "libc/library.hpp"

namespace ckpt::snapshot {

namespace {

constexpr std::size_t kMostEntries = 1U << 20U;

// Where the file says that the variable is; 0: it does not. One variable has all of these names.
std::uint64_t environ_in(const std::string& path) {
  constexpr auto kNames = std::to_array<std::string_view>({"__environ", "environ", "_environ"});
  const auto found = libc::read_symbols(path);
  for (const auto& symbol : found.symbols)
    if (symbol.kind == libc::SymbolKind::object && !symbol.local &&
        std::ranges::find(kNames, symbol.name) != kNames.end())
      return symbol.value - found.first_address;
  return 0;
}

// The variable `environ`: the program's own, where it has one (static programs, and copy
// relocations, which the library then uses too), else the library's.
Addr find_environ(const Snapshot& snapshot, state::FileSource& files) {
  std::optional<Addr> in_library;
  for (const auto& region : snapshot.saved.space.regions) {
    if (region.backing != state::Backing::private_file || region.mapping.offset_bytes != 0)
      continue;
    const bool is_program = region.file->device == snapshot.saved.program.device &&
                            region.file->inode == snapshot.saved.program.inode;
    if (!is_program && (in_library || !libc::is_library_name(region.file->path))) continue;
    std::uint64_t offset = 0;
    try {
      offset = environ_in(files.content_path(*region.file));
    } catch (const Error&) {
      continue;  // not to be had, or no ELF file
    }
    if (offset == 0) continue;
    if (is_program) return region.mapping.start + offset;
    in_library = region.mapping.start + offset;
  }
  if (!in_library)
    fail(ErrorKind::refused,
         "the environment of {} cannot be changed: it has no C library with symbols",
         snapshot.saved.program.path);
  return *in_library;
}

// The name with its "=".
std::string_view name_of(std::string_view entry) { return entry.substr(0, entry.find('=') + 1); }

class Environment {
 public:
  Environment(const tracee::Memory& memory, Addr variable) : memory_(memory), variable_(variable) {
    array_ = Addr{memory.read_value<std::uint64_t>(variable)};
    if (!array_) return;  // after clearenv()
    for (Addr at = array_;; at = at + sizeof(std::uint64_t)) {
      const auto entry = memory.read_value<std::uint64_t>(at);
      if (entry == 0) break;
      if (entries_.size() == kMostEntries)
        fail(ErrorKind::refused, "the program's environment at {} has no end", array_);
      entries_.push_back(entry);
    }
    before_ = entries_.size();
  }

  /// `entry` is at `address` in the program.
  void set(std::string_view entry, Addr address) {
    // As getenv(), which takes the first of that name.
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (!begins_with(i, name_of(entry))) continue;
      entries_[i] = address.value;
      if (i < before_) replaced_.push_back(i);
      return;
    }
    entries_.push_back(address.value);
  }

  /// What a new array takes when at most `more` entries are added.
  [[nodiscard]] std::uint64_t array_bytes(std::size_t more) const {
    return (entries_.size() + more + 1) * sizeof(std::uint64_t);
  }

  /// `place`: where a new array may be.
  void write(Addr place) const {
    if (entries_.size() == before_) {
      for (const std::size_t i : replaced_)
        memory_.write_value(array_ + i * sizeof(std::uint64_t), entries_[i]);
      return;
    }
    auto array = entries_;
    array.push_back(0);
    memory_.write(place, std::as_bytes(std::span(array)));
    memory_.write_value(variable_, place.value);
  }

 private:
  [[nodiscard]] bool begins_with(std::size_t index, std::string_view name) const {
    std::string text(name.size(), '\0');
    return memory_.read_some(Addr{entries_[index]}, std::as_writable_bytes(std::span(text))) ==
               name.size() &&
           text == name;
  }

  const tracee::Memory& memory_;
  Addr variable_;
  Addr array_{0};
  std::vector<std::uint64_t> entries_;
  std::size_t before_ = 0;
  std::vector<std::size_t> replaced_;
};

}  // namespace

void check_environment(const Snapshot& snapshot, state::FileSource& files) {
  const auto& wanted = files.options().environment;
  if (wanted.empty()) return;
  for (const auto& entry : wanted)
    if (name_of(entry).size() < 2)
      fail(ErrorKind::usage, "environment: \"{}\" is not of the form NAME=VALUE", entry);
  find_environ(snapshot, files);
}

void change_environment(const Snapshot& snapshot, state::FileSource& files,
                        tracee::Inferior& inferior) {
  const auto& wanted = files.options().environment;
  if (wanted.empty()) return;
  Environment environment(inferior.memory, find_environ(snapshot, files));
  const std::uint64_t array_bytes = environment.array_bytes(wanted.size());
  std::uint64_t bytes = array_bytes;
  for (const auto& entry : wanted) bytes += entry.size() + 1;
  const Addr place{inferior.call(
      "mmap (environment)", SYS_mmap,
      {0, page_up(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0})};
  Addr at = place + array_bytes;
  for (const auto& entry : wanted) {
    inferior.memory.write(at, std::as_bytes(std::span(entry.c_str(), entry.size() + 1)));
    environment.set(entry, at);
    at = at + (entry.size() + 1);
  }
  environment.write(place);
}

}  // namespace ckpt::snapshot
