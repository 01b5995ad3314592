#include "libc/elf_symbols.hpp"

#include <fcntl.h>
#include <gelf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/error.hpp"
#include "base/unique_fd.hpp"

namespace ckpt::libc {

namespace {

std::optional<SymbolKind> kind_of(unsigned type, SymbolTables tables) {
  switch (type) {
    // What linking gives is not this address, but what the function there chooses.
    case STT_GNU_IFUNC:
      if (tables == SymbolTables::linking) return std::nullopt;
      return SymbolKind::function;
    case STT_FUNC: return SymbolKind::function;
    case STT_OBJECT: return SymbolKind::object;
    case STT_TLS: return SymbolKind::thread_local_object;
    default: return std::nullopt;
  }
}

constexpr GElf_Versym kHiddenVersion = 0x8000;  // elf.h has no name for it: not the default version

using ElfHandle = std::unique_ptr<Elf, decltype(&elf_end)>;

Elf_Scn* find_section(Elf* elf, std::uint32_t type, GElf_Shdr& header) {
  for (Elf_Scn* section = elf_nextscn(elf, nullptr); section != nullptr;
       section = elf_nextscn(elf, section))
    if (gelf_getshdr(section, &header) != nullptr && header.sh_type == type) return section;
  return nullptr;
}

void read_segments(Elf* elf, ElfSymbols& result) {
  std::size_t count = 0;
  if (elf_getphdrnum(elf, &count) != 0) return;
  result.is_static = true;
  for (std::size_t i = 0; i < count; ++i) {
    GElf_Phdr header;
    if (gelf_getphdr(elf, static_cast<int>(i), &header) == nullptr) continue;
    if (header.p_type == PT_INTERP) result.is_static = false;
    if (header.p_type == PT_LOAD && header.p_offset == 0) result.first_address = header.p_vaddr;
    if (header.p_type == PT_TLS) {
      const std::uint64_t align = header.p_align == 0 ? 1 : header.p_align;
      result.tls_bytes = (header.p_memsz + align - 1) / align * align;
    }
  }
}

UniqueFd open_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw_errno(fmt::format("open {}", path), errno);
  return fd;
}

// Nothing for a file that is no ELF file.
ElfHandle begin_elf(const UniqueFd& fd) {
  elf_version(EV_CURRENT);
  ElfHandle elf(elf_begin(fd.get(), ELF_C_READ_MMAP, nullptr), &elf_end);
  if (elf != nullptr && elf_kind(elf.get()) != ELF_K_ELF) elf.reset();
  return elf;
}

}  // namespace

ElfSymbols read_symbols(const std::string& path, SymbolTables tables) {
  ElfSymbols result;
  const UniqueFd fd = open_file(path);
  const ElfHandle elf = begin_elf(fd);
  if (elf == nullptr) return result;
  read_segments(elf.get(), result);

  GElf_Shdr header;
  const bool linking = tables == SymbolTables::linking;
  Elf_Scn* section = find_section(elf.get(), linking ? SHT_DYNSYM : SHT_SYMTAB, header);
  bool dynamic = linking && section != nullptr && !result.is_static;
  if (linking && !dynamic) {
    section = find_section(elf.get(), SHT_SYMTAB, header);
    // A library that needs no interpreter, being one itself (musl's).
    if (section == nullptr) section = find_section(elf.get(), SHT_DYNSYM, header);
  }
  if (!linking && section == nullptr) {
    section = find_section(elf.get(), SHT_DYNSYM, header);
    dynamic = true;
  }
  if (section == nullptr || header.sh_entsize == 0) return result;
  Elf_Data* data = elf_getdata(section, nullptr);
  if (data == nullptr) return result;
  GElf_Shdr version_header;
  Elf_Scn* version_section =
      dynamic ? find_section(elf.get(), SHT_GNU_versym, version_header) : nullptr;
  Elf_Data* versions = version_section != nullptr ? elf_getdata(version_section, nullptr) : nullptr;

  // Names may share their ends, and in a file that was made for it all of a long one: no
  // more is copied than many times what there is.
  constexpr std::uint64_t kMostTimes = 16;
  std::size_t file_bytes = 0;
  static_cast<void>(elf_rawfile(elf.get(), &file_bytes));
  std::uint64_t name_bytes = 0;
  const auto count = static_cast<int>(header.sh_size / header.sh_entsize);
  for (int i = 0; i < count; ++i) {
    GElf_Sym symbol;
    if (gelf_getsym(data, i, &symbol) == nullptr) break;
    const auto kind = kind_of(GELF_ST_TYPE(symbol.st_info), tables);
    if (symbol.st_shndx == SHN_UNDEF || !kind) continue;
    GElf_Versym version = 0;
    if (versions != nullptr && gelf_getversym(versions, i, &version) != nullptr &&
        (version & kHiddenVersion) != 0)
      continue;
    const char* name = elf_strptr(elf.get(), header.sh_link, symbol.st_name);
    if (name == nullptr || *name == 0) continue;
    std::string plain = name;
    name_bytes += plain.size();
    if (name_bytes > kMostTimes * file_bytes) break;
    if (!dynamic) {
      // A full table writes versions into the names: "@@" for the default one.
      const auto at = plain.find('@');
      if (at != std::string::npos && plain.compare(at, 2, "@@") != 0) continue;
      plain.resize(std::min(at, plain.size()));
    }
    result.symbols.push_back({std::move(plain), symbol.st_value, symbol.st_size, *kind,
                              GELF_ST_BIND(symbol.st_info) == STB_LOCAL});
  }
  return result;
}

std::optional<ElfSection> read_section(const std::string& path, const std::string& name) {
  const UniqueFd fd = open_file(path);
  const ElfHandle elf = begin_elf(fd);
  std::size_t names = 0;
  if (elf == nullptr || elf_getshdrstrndx(elf.get(), &names) != 0) return std::nullopt;
  for (Elf_Scn* section = elf_nextscn(elf.get(), nullptr); section != nullptr;
       section = elf_nextscn(elf.get(), section)) {
    GElf_Shdr header;
    if (gelf_getshdr(section, &header) == nullptr) continue;
    const char* its_name = elf_strptr(elf.get(), names, header.sh_name);
    if (its_name == nullptr || its_name != name) continue;
    const Elf_Data* data = elf_rawdata(section, nullptr);
    if (data == nullptr || data->d_buf == nullptr) return std::nullopt;
    const auto* first = static_cast<const std::byte*>(data->d_buf);
    return ElfSection{header.sh_addr, {first, first + data->d_size}};
  }
  return std::nullopt;
}

}  // namespace ckpt::libc
