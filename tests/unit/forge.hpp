// The smallest file that a reader takes for a snapshot, around a record of the caller's choice and
// with all digests right: what a forger would write.
#pragma once

#include <elf.h>

#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/digest.hpp"
#include "image/format.hpp"

namespace ckpt::test {

template <typename T>
void append_struct(std::string& out, const T& value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

/// `cbor`: the bytes of the record, which need not be CBOR.
inline std::string forge_image(std::string_view cbor,
                               std::uint32_t version = image::kFormatVersion) {
  std::string note;
  Elf64_Nhdr note_head{};
  note_head.n_namesz = 5;
  note_head.n_descsz = static_cast<Elf64_Word>(sizeof(image::RecordHead) + cbor.size());
  note_head.n_type = image::kRecordNoteType;
  append_struct(note, note_head);
  note.append("CKPT\0\0\0\0", 8);

  std::string front;
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof header;
  header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  append_struct(front, header);
  Elf64_Phdr notes{};
  notes.p_type = PT_NOTE;
  notes.p_offset = sizeof header + sizeof notes;
  notes.p_filesz = note.size() + ((sizeof(image::RecordHead) + cbor.size() + 3) & ~std::size_t{3});
  append_struct(front, notes);

  image::RecordHead record_head;
  record_head.version = version;
  record_head.record_digest = digest64(std::as_bytes(std::span(cbor)));
  record_head.surround_digest = digest64(std::as_bytes(std::span(front)));
  append_struct(note, record_head);
  std::string file = front + note;
  file += cbor;
  file.resize(notes.p_offset + notes.p_filesz);
  return file;
}

inline std::string forge_image(const nlohmann::json& record,
                               std::uint32_t version = image::kFormatVersion) {
  const auto cbor = nlohmann::json::to_cbor(record);
  return forge_image(std::string_view(reinterpret_cast<const char*>(cbor.data()), cbor.size()),
                     version);
}

}  // namespace ckpt::test
