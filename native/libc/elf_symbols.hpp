// The symbols of an ELF file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ckpt::libc {

enum class SymbolKind { function, object, thread_local_object };

struct Symbol {
  std::string name;
  std::uint64_t value = 0;  // as the file has it: add where it was loaded
  std::uint64_t size_bytes = 0;
  SymbolKind kind = SymbolKind::function;
  bool local = false;  // known in one source file only
};

struct ElfSymbols {
  /// Defined functions and objects; of several versions of a name the default one.
  std::vector<Symbol> symbols;
  std::uint64_t first_address = 0;  // of the segment with the file's first byte
  std::uint64_t tls_bytes = 0;      // of the thread-local block, alignment included
  bool is_static = false;           // needs no interpreter
};

enum class SymbolTables {
  linking,  // the dynamic symbols, or for a static program all symbols
  every,    // all symbols, or for a stripped file the dynamic ones
};

/// Reads the symbols of the file at `path`. Throws Error (system) when it cannot be read; whatever
/// in it makes no sense is left out.
ElfSymbols read_symbols(const std::string& path, SymbolTables tables = SymbolTables::linking);

struct ElfSection {
  std::uint64_t address = 0;  // as the file has it
  std::vector<std::byte> bytes;
};

/// The section of that name of the file at `path`, if there is one. Throws as read_symbols().
std::optional<ElfSection> read_section(const std::string& path, const std::string& name);

}  // namespace ckpt::libc
