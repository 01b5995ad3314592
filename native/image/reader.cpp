#include "image/reader.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "arch/arch.hpp"
#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "base/threads.hpp"
#include "image/cbor.hpp"
#include "image/versions.hpp"

namespace ckpt::image {

namespace {

constexpr std::uint64_t kMostHeaders = 4U << 20U;        // program headers
constexpr std::uint64_t kMostNoteBytes = 0xffffffffULL;  // n_descsz has 32 bits

// A file of a few blocks and a hole of gigabytes is cheap to make, and must not be dear to read:
// what is read of it is bounded by what is stored. Copies of snapshots may have holes where there
// were pages of zeros, in extended state above all.
constexpr std::uint64_t kMostHoles = 16;           // times what is stored
constexpr std::uint64_t kAlwaysGood = 64U << 10U;  // whatever is stored of it
constexpr std::uint64_t kMostExtentBytes = 64U << 20U;
constexpr std::size_t kDeepest = 64;            // nesting in the record
constexpr std::uint64_t kBytesOfContainer = 8;  // at the least, with its key and its items

template <typename T>
T read_struct(int fd, std::uint64_t offset, const std::string& path) {
  T value{};
  if (!pread_exact(fd, std::as_writable_bytes(std::span(&value, 1)), offset, path))
    fail(ErrorKind::damaged, "{}: the file is truncated", path);
  return value;
}

bool is_worth(std::uint64_t size_bytes, std::uint64_t stored) {
  return size_bytes <= kAlwaysGood || size_bytes / kMostHoles <= stored;
}

[[noreturn]] void refuse_holes(const std::string& path) {
  fail(ErrorKind::damaged,
       "{}: most of it is a hole, which no snapshot has (a copy without: cp --sparse=never)", path);
}

std::vector<std::byte> read_bytes(int fd, std::uint64_t offset, std::uint64_t size_bytes,
                                  std::uint64_t file_bytes, const std::string& path) {
  if (size_bytes > file_bytes || offset > file_bytes - size_bytes)
    fail(ErrorKind::damaged, "{}: the file is truncated", path);
  if (!is_worth(size_bytes, stored_bytes(fd, offset, size_bytes))) refuse_holes(path);
  std::vector<std::byte> bytes(size_bytes);
  if (!pread_exact(fd, bytes, offset, path))
    fail(ErrorKind::damaged, "{}: the file is truncated", path);
  return bytes;
}

struct FoundRecord {
  RecordHead head;
  std::span<const std::byte> cbor;
  std::span<const std::byte> before;  // the notes in front of ours
};

std::optional<FoundRecord> find_record(std::span<const std::byte> notes) {
  std::size_t at = 0;
  while (notes.size() - at >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr head{};
    std::memcpy(&head, notes.data() + at, sizeof head);
    const std::size_t start = at;
    const std::size_t name_at = at + sizeof head;
    const std::uint64_t name_room = (std::uint64_t{head.n_namesz} + 3) & ~3ULL;
    const std::uint64_t desc_room = (std::uint64_t{head.n_descsz} + 3) & ~3ULL;
    if (name_room > notes.size() - name_at || desc_room > notes.size() - name_at - name_room)
      return std::nullopt;
    const auto name = notes.subspan(name_at, head.n_namesz);
    const auto content = notes.subspan(name_at + name_room, head.n_descsz);
    const bool ours = name.size() == kNoteOwner.size() + 1 &&
                      std::memcmp(name.data(), kNoteOwner.data(), kNoteOwner.size()) == 0 &&
                      name.back() == std::byte{0} && head.n_type == kRecordNoteType;
    if (ours && content.size() >= sizeof(RecordHead)) {
      FoundRecord found{{}, content.subspan(sizeof(RecordHead)), notes.first(start)};
      std::memcpy(&found.head, content.data(), sizeof found.head);
      return found;
    }
    at = name_at + name_room + desc_room;
  }
  return std::nullopt;
}

CborLimits limits_for(std::uint64_t stored) {
  return {kDeepest, stored + kAlwaysGood, (stored + kAlwaysGood) / kBytesOfContainer};
}

}  // namespace

Reader::Reader(UniqueFd fd, std::string path, Json record)
    : fd_(std::move(fd)), path_(std::move(path)), record_(std::move(record)) {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) throw_errno(fmt::format("stat {}", path_), errno);
  if (!S_ISREG(status.st_mode)) fail(ErrorKind::damaged, "{}: not a regular file", path_);
  file_bytes_ = static_cast<std::uint64_t>(status.st_size);
  constexpr std::uint64_t kBlockBytes = 512;  // stat(2)
  disk_bytes_ = static_cast<std::uint64_t>(status.st_blocks) * kBlockBytes;
  if (file_bytes_ < sizeof(Elf64_Ehdr)) fail(ErrorKind::damaged, "{}: not a snapshot", path_);

  const auto header = read_struct<Elf64_Ehdr>(fd_.get(), 0, path_);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_type != ET_CORE ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != arch::kElfMachine ||
      header.e_phentsize != sizeof(Elf64_Phdr))
    fail(ErrorKind::damaged, "{}: not a snapshot", path_);
  std::uint64_t count = header.e_phnum;
  std::uint64_t front_bytes = sizeof(Elf64_Ehdr);
  if (count == PN_XNUM) {
    if (header.e_shoff > file_bytes_) fail(ErrorKind::damaged, "{}: not a snapshot", path_);
    count = read_struct<Elf64_Shdr>(fd_.get(), header.e_shoff, path_).sh_info;
    front_bytes += sizeof(Elf64_Shdr);
  }
  if (count == 0 || count > kMostHeaders || header.e_phoff != sizeof(Elf64_Ehdr))
    fail(ErrorKind::damaged, "{}: not a snapshot", path_);
  front_bytes += count * sizeof(Elf64_Phdr);
  std::vector<std::byte> surround = read_bytes(fd_.get(), 0, front_bytes, file_bytes_, path_);

  Elf64_Phdr first{};
  std::memcpy(&first, surround.data() + sizeof(Elf64_Ehdr), sizeof first);
  if (first.p_type != PT_NOTE || first.p_filesz > kMostNoteBytes)
    fail(ErrorKind::damaged, "{}: not a snapshot of ckpt (a core file of another tool?)", path_);
  const auto notes = read_bytes(fd_.get(), first.p_offset, first.p_filesz, file_bytes_, path_);
  const auto found = find_record(notes);
  if (!found)
    fail(ErrorKind::damaged, "{}: not a snapshot of ckpt (a core file of another tool?)", path_);
  if (!is_known_version(found->head.version))
    fail(ErrorKind::unsupported,
         "{}: format version {}, this gdb-ckpt reads versions up to {}: use a newer gdb-ckpt",
         path_, found->head.version, kFormatVersion);
  front_bytes_ = front_bytes;
  notes_offset_ = first.p_offset;
  other_notes_bytes_ = found->before.size();
  surround.insert(surround.end(), found->before.begin(), found->before.end());
  if (digest64(surround) != found->head.surround_digest || found->head.reserved != 0)
    fail(ErrorKind::damaged, "{}: the snapshot is damaged: its headers have changed", path_);
  if (digest64(found->cbor) != found->head.record_digest)
    fail(ErrorKind::damaged, "{}: the snapshot is damaged: its record has changed", path_);

  try {
    const auto at = static_cast<std::uint64_t>(found->cbor.data() - notes.data());
    const auto stored = stored_bytes(fd_.get(), notes_offset_ + at, found->cbor.size());
    if (!is_plain_cbor(found->cbor, limits_for(stored)))
      fail(ErrorKind::damaged, "{}: the snapshot is damaged: its record is malformed", path_);
    const auto* cbor = reinterpret_cast<const std::uint8_t*>(found->cbor.data());
    if (record_.is_null()) {
      record_ = Json::from_cbor(cbor, cbor + found->cbor.size());
      upgrade_record(record_, found->head.version);
    }
    const auto& packed = record_.at("extents");
    if (packed.is_array() && packed.size() > 1)
      fail(ErrorKind::unsupported,
           "{}: a snapshot of {} processes, this gdb-ckpt reads those of one: use a newer gdb-ckpt",
           path_, packed.size());
    extents_ = unpack_extents(packed.at(0).get_binary());
    record_.erase("extents");
  } catch (const Json::exception& error) {
    fail(ErrorKind::damaged, "{}: the snapshot is damaged: {}", path_, error.what());
  }
  check_extents();
}

void Reader::check_extents() const {
  Addr last{0};
  std::uint64_t last_in_file = 0;
  std::uint64_t bytes = 0;
  for (const Extent& extent : extents_) {
    if (extent.size_bytes == 0 || extent.size_bytes % kPageSize != 0 ||
        extent.size_bytes > kMostExtentBytes || extent.start.value % kPageSize != 0 ||
        extent.start < last || extent.start.value + extent.size_bytes < extent.start.value ||
        extent.file_offset > file_bytes_ || extent.size_bytes > file_bytes_ - extent.file_offset ||
        extent.file_offset < last_in_file)
      fail(ErrorKind::damaged, "{}: the snapshot is damaged or truncated: memory at {}", path_,
           extent.start);
    last = extent.start + extent.size_bytes;
    last_in_file = extent.file_offset + extent.size_bytes;
    bytes += extent.size_bytes;
  }
  // What the file takes on disk is known already, but is less than what is stored where the file
  // system compresses.
  if (!is_worth(bytes, disk_bytes_) && !is_worth(bytes, stored_bytes(fd_.get(), 0, file_bytes_)))
    refuse_holes(path_);
}

Reader Reader::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    if (errno == ENOENT) fail(ErrorKind::not_found, "{}: no such file", path);
    throw_errno(fmt::format("open {}", path), errno);
  }
  return from_fd(UniqueFd(fd), path);
}

Reader Reader::from_fd(UniqueFd fd, const std::string& path) {
  return {std::move(fd), path, Json()};
}

Reader Reader::written(UniqueFd fd, const std::string& path, Json record) {
  return {std::move(fd), path, std::move(record)};
}

void Reader::verify_memory(
    const std::function<bool(std::uint64_t, std::uint64_t)>& progress) const {
  std::uint64_t total = 0;
  for (const Extent& extent : extents_) total += extent.size_bytes;

  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> done{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::condition_variable finished;
  std::exception_ptr problem;
  unsigned running = 0;

  const auto work = [&] {
    try {
      std::vector<std::byte> buffer;
      for (std::size_t i = next++; i < extents_.size() && !stop; i = next++) {
        const Extent& extent = extents_[i];
        buffer.resize(extent.size_bytes);
        if (!pread_exact(fd_.get(), buffer, extent.file_offset, path_))
          fail(ErrorKind::damaged, "{}: the file is truncated", path_);
        if (digest64(buffer) != extent.digest)
          fail(ErrorKind::damaged, "{}: the snapshot is damaged: memory at {} has changed", path_,
               extent.start);
        done += extent.size_bytes;
      }
    } catch (...) {
      const std::scoped_lock lock(mutex);
      if (!problem) problem = std::current_exception();
      stop = true;
    }
    const std::scoped_lock lock(mutex);
    --running;
    finished.notify_all();
  };

  if (total < (8U << 20U)) {
    running = 1;
    work();
  } else {
    const unsigned count = std::clamp(std::thread::hardware_concurrency(), 1U, 8U);
    running = count;
    auto threads = start_threads(count, work);
    if (threads.empty()) work();
    bool cancelled = false;
    std::exception_ptr thrown;  // by progress(): the threads must end before anybody sees it
    std::unique_lock lock(mutex);
    running -= count - std::max(1U, static_cast<unsigned>(threads.size()));
    while (running > 0) {
      if (progress && !cancelled) {
        lock.unlock();
        try {
          cancelled = !progress(done, total);
        } catch (...) {
          cancelled = true;
          thrown = std::current_exception();
        }
        if (cancelled) stop = true;
        lock.lock();
      }
      if (running > 0) finished.wait_for(lock, std::chrono::milliseconds(100));
    }
    lock.unlock();
    for (auto& thread : threads) thread.join();
    if (thrown) std::rethrow_exception(thrown);
    if (cancelled && !problem) fail(ErrorKind::interrupted, "interrupted");
  }
  if (problem) std::rethrow_exception(problem);
}

}  // namespace ckpt::image
