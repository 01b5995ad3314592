// The new notes are written where the file has nothing that is needed, and made durable; then one
// write of one program header, which no disk tears, makes them those of the snapshot. The old ones
// stay behind as bytes that no header leads to, and are the room for the next change: notes stand
// behind the segments, and nothing but old notes before or behind them.
#include "image/relabel.hpp"

#include <elf.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.hpp"
#include "base/io.hpp"
#include "image/codecs.hpp"
#include "image/reader.hpp"
#include "image/writer.hpp"

namespace ckpt::image {

namespace {

std::vector<std::byte> bytes_at(const Reader& reader, std::uint64_t offset, std::uint64_t size) {
  std::vector<std::byte> bytes(size);
  if (!pread_exact(reader.fd(), bytes, offset, reader.path()))
    fail(ErrorKind::damaged, "{}: the file is truncated", reader.path());
  return bytes;
}

/// The first page behind the last segment's bytes.
std::uint64_t behind_segments(const Reader& reader, std::span<const std::byte> front) {
  std::uint64_t end = front.size();
  // A section header may follow, which begins with a 0 and so is no PT_LOAD.
  const std::size_t count = (front.size() - sizeof(Elf64_Ehdr)) / sizeof(Elf64_Phdr);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = sizeof(Elf64_Ehdr) + i * sizeof(Elf64_Phdr);
    Elf64_Phdr header{};
    std::memcpy(&header, front.data() + at, sizeof header);
    if (header.p_type != PT_LOAD || header.p_filesz == 0) continue;
    if (header.p_offset > reader.file_bytes() ||
        header.p_filesz > reader.file_bytes() - header.p_offset)
      fail(ErrorKind::damaged, "{}: the snapshot is damaged: its headers", reader.path());
    end = std::max(end, header.p_offset + header.p_filesz);
  }
  return page_up(end);
}

}  // namespace

void relabel(const std::string& path, const Label& label) {
  const Reader reader = Reader::open(path);
  const UniqueFd file = open_file(path, O_WRONLY);
  auto front = bytes_at(reader, 0, reader.front_bytes());
  const auto others = bytes_at(reader, reader.notes_offset(), reader.other_notes_bytes());
  Json record = reader.record();
  record["format"] = kFormatVersion;
  record["extents"] =
      Codec<std::vector<std::vector<std::byte>>>::write({pack_extents(reader.extents())});
  if (label.name) record["name"] = *label.name;
  if (label.message) record["message"] = *label.message;
  auto ours = make_record_note(record, path);
  const std::uint64_t size = others.size() + ours.size();

  const std::uint64_t free_at = behind_segments(reader, front);
  Elf64_Phdr header{};
  std::memcpy(&header, front.data() + sizeof(Elf64_Ehdr), sizeof header);
  const bool fits_before = free_at + size <= header.p_offset;
  header.p_offset =
      fits_before ? free_at : std::max(free_at, page_up(header.p_offset + header.p_filesz));
  header.p_filesz = size;
  std::memcpy(front.data() + sizeof(Elf64_Ehdr), &header, sizeof header);
  seal_record_note(ours, front, others);

  pwrite_all(file.get(), others, header.p_offset, path);
  pwrite_all(file.get(), ours, header.p_offset + others.size(), path);
  if (::fdatasync(file.get()) != 0) throw_errno(fmt::format("write {}", path), errno);
  pwrite_all(file.get(), std::as_bytes(std::span(&header, 1)), sizeof(Elf64_Ehdr), path);
}

}  // namespace ckpt::image
