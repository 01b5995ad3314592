#include "recording/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <zstd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "recording/encoding.hpp"

namespace ckpt::recording {

namespace {

struct Header {
  std::array<char, 8> magic;
  std::uint32_t version;
  std::uint32_t machine;  // e_machine of ELF
};
constexpr std::array<char, 8> kMagic = {'C', 'K', 'P', 'T', 'R', 'E', 'C', '\0'};

struct ChunkHeader {
  std::uint32_t magic;
  std::uint32_t stored_bytes;
  std::uint32_t content_bytes;
  std::uint32_t reserved;
  std::uint64_t digest;  // digest64() of what is stored
};
constexpr std::uint32_t kChunkMagic = 0x4b4e4843;  // "CHNK"

// A chunk is written when it has this much. It is longer if one event is.
constexpr std::size_t kFullBytes = 256U << 10U;
// What one event may hold: a call's output is what the program's memory had room for.
constexpr std::uint64_t kMostContentBytes = 1ULL << 30U;
constexpr int kCompressionLevel = 1;

std::vector<std::byte> compress(std::span<const std::byte> content) {
  std::vector<std::byte> stored(ZSTD_compressBound(content.size()));
  const std::size_t size = ZSTD_compress(stored.data(), stored.size(), content.data(),
                                         content.size(), kCompressionLevel);
  if (ZSTD_isError(size) != 0) fail(ErrorKind::system, "compression: {}", ZSTD_getErrorName(size));
  stored.resize(size);
  return stored;
}

template <typename T>
std::string_view as_text(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

UniqueFd make_file(const std::string& path, bool replace) {
  try {
    return open_file(path, O_WRONLY | O_CREAT | (replace ? O_TRUNC : O_EXCL), 0600);
  } catch (const Error& error) {
    if (error.error_number() != EEXIST) throw;
    fail(ErrorKind::exists, "{} exists; --force replaces it", path);
  }
}

}  // namespace

Writer::Writer(const std::string& path, bool replace) : path_(path), fd_(make_file(path, replace)) {
  const Header header{kMagic, kFormatVersion, arch::kElfMachine};
  write_all(fd_.get(), as_text(header), path_);
  file_bytes_ = sizeof header;
}

void Writer::begin(const Start& start) {
  encode(start, collected_);
  flush();
}

void Writer::append(const Event& event) {
  const std::size_t before = collected_.size();
  encode(event, collected_);
  if (collected_.size() - before > kMostContentBytes)
    fail(ErrorKind::unsupported, "{}: an event of more than 1 GiB", path_);
  ++events_;
  if (collected_.size() >= kFullBytes) flush();
}

void Writer::flush() {
  if (collected_.empty()) return;
  const auto stored = compress(collected_);
  const ChunkHeader header{kChunkMagic, static_cast<std::uint32_t>(stored.size()),
                           static_cast<std::uint32_t>(collected_.size()), 0, digest64(stored)};
  // In one call: another reader of the file sees a chunk or none.
  std::string whole(as_text(header));
  whole.append(reinterpret_cast<const char*>(stored.data()), stored.size());
  write_all(fd_.get(), whole, path_);
  file_bytes_ += whole.size();
  collected_.clear();
}

Reader::Reader(const std::string& path) : fd_(open_file(path, O_RDONLY)) {
  try {
    open();
  } catch (Error& error) {
    error.add_context(path);
    throw;
  }
}

Reader::Reader(UniqueFd fd) : fd_(std::move(fd)) { open(); }

void Reader::open() {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) throw_errno("stat", errno);
  if (!S_ISREG(status.st_mode)) fail(ErrorKind::damaged, "it is no regular file");
  size_bytes_ = static_cast<std::uint64_t>(status.st_size);
  Header header{};
  if (!pread_exact(fd_.get(), std::as_writable_bytes(std::span(&header, 1)), 0, "recording") ||
      header.magic != kMagic)
    fail(ErrorKind::damaged, "it is no recording");
  if (header.version != kFormatVersion)
    fail(ErrorKind::unsupported, "it has version {} of the format; this program reads {}",
         header.version, kFormatVersion);
  if (header.machine != arch::kElfMachine)
    fail(ErrorKind::unsupported, "it was made on another architecture");
  offset_ = sizeof header;
  if (!load_chunk()) fail(ErrorKind::damaged, "it has no start: the recorder was ended at once");
  start_ = decode_start(rest_);
}

bool Reader::load_chunk() {
  ChunkHeader header{};
  if (offset_ == size_bytes_) return false;
  if (size_bytes_ - offset_ < sizeof header) {
    cut_off_ = true;
    return false;
  }
  pread_exact(fd_.get(), std::as_writable_bytes(std::span(&header, 1)), offset_, "recording");
  if (header.magic != kChunkMagic)
    fail(ErrorKind::damaged, "no chunk begins at offset {}", offset_);
  if (header.stored_bytes > size_bytes_ - offset_ - sizeof header) {
    cut_off_ = true;
    return false;
  }
  std::vector<std::byte> stored(header.stored_bytes);
  if (!pread_exact(fd_.get(), stored, offset_ + sizeof header, "recording"))
    fail(ErrorKind::damaged, "it has become shorter");
  if (digest64(stored) != header.digest)
    fail(ErrorKind::damaged, "the chunk at offset {} has another digest than it should", offset_);
  // The frame's own size is compared first: so much memory is asked for as the frame can fill.
  if (header.content_bytes > kMostContentBytes + kFullBytes ||
      ZSTD_getFrameContentSize(stored.data(), stored.size()) != header.content_bytes)
    fail(ErrorKind::damaged, "the chunk at offset {} has a wrong size", offset_);
  chunk_.resize(header.content_bytes);
  const std::size_t size =
      ZSTD_decompress(chunk_.data(), chunk_.size(), stored.data(), stored.size());
  if (ZSTD_isError(size) != 0 || size != chunk_.size())
    fail(ErrorKind::damaged, "the chunk at offset {} cannot be decompressed", offset_);
  offset_ += sizeof header + stored.size();
  rest_ = chunk_;
  return true;
}

std::optional<Event> Reader::next() {
  while (rest_.empty())
    if (!load_chunk()) return std::nullopt;
  return decode_event(rest_);
}

std::optional<std::uint64_t> Reader::chunk_ahead() const {
  return rest_.empty() ? std::optional(offset_) : std::nullopt;
}

void Reader::go_to_chunk(std::uint64_t offset) {
  offset_ = offset;
  rest_ = {};
}

}  // namespace ckpt::recording
