#include "image/writer.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "arch/arch.hpp"
#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/io.hpp"

namespace ckpt::image {

namespace {

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

void append(std::vector<std::byte>& out, const void* data, std::size_t size_bytes) {
  const auto* first = static_cast<const std::byte*>(data);
  out.insert(out.end(), first, first + size_bytes);
}

void append_note(std::vector<std::byte>& out, const Note& note) {
  Elf64_Nhdr head{};
  head.n_namesz = static_cast<Elf64_Word>(note.owner.size() + 1);
  head.n_descsz = static_cast<Elf64_Word>(note.content.size());
  head.n_type = note.type;
  append(out, &head, sizeof head);
  append(out, note.owner.c_str(), note.owner.size() + 1);
  out.resize((out.size() + 3) & ~std::size_t{3});
  append(out, note.content.data(), note.content.size());
  out.resize((out.size() + 3) & ~std::size_t{3});
}

}  // namespace

std::vector<std::byte> make_record_note(const Json& record, const std::string& path) {
  const std::vector<std::uint8_t> cbor = Json::to_cbor(record);
  if (cbor.size() > 0xf0000000U)
    fail(ErrorKind::unsupported, "{}: the record of this process is too large", path);
  RecordHead head;
  head.record_digest = digest64(std::as_bytes(std::span(cbor)));
  Note ours{std::string(kNoteOwner), kRecordNoteType, {}};
  append(ours.content, &head, sizeof head);
  append(ours.content, cbor.data(), cbor.size());
  std::vector<std::byte> bytes;
  append_note(bytes, ours);
  return bytes;
}

void seal_record_note(std::span<std::byte> note, std::span<const std::byte> front,
                      std::span<const std::byte> others) {
  std::vector<std::byte> surround(front.begin(), front.end());
  surround.insert(surround.end(), others.begin(), others.end());
  const std::uint64_t digest = digest64(surround);
  const std::size_t head_at = sizeof(Elf64_Nhdr) + ((kNoteOwner.size() + 1 + 3) & ~std::size_t{3});
  std::memcpy(note.data() + head_at + offsetof(RecordHead, surround_digest), &digest,
              sizeof digest);
}

PendingFile::PendingFile(std::string path, bool overwrite, unsigned mode)
    : path_(std::move(path)), overwrite_(overwrite) {
  if (!overwrite_ && ::access(path_.c_str(), F_OK) == 0)
    fail(ErrorKind::exists, "{} exists already", path_);
  const std::string directory = directory_of(path_);
  const int fd = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
  if (fd >= 0) {
    fd_.reset(fd);
    return;
  }
  // Not every file system has O_TMPFILE.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
    throw_errno(fmt::format("create {}", path_), errno);
  temporary_name_ = path_ + ".XXXXXX";
  fd_.reset(::mkostemp(temporary_name_.data(), O_CLOEXEC));
  if (!fd_) {
    const int error_number = errno;
    temporary_name_.clear();
    throw_errno(fmt::format("create {}", path_), error_number);
  }
  ::fchmod(fd_.get(), mode);
}

PendingFile::~PendingFile() {
  if (!temporary_name_.empty()) ::unlink(temporary_name_.c_str());
}

void PendingFile::publish() {
  if (temporary_name_.empty()) {
    const std::string self = fmt::format("/proc/self/fd/{}", fd_.get());
    const auto link_as = [&](const std::string& name) {
      return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
    };
    if (link_as(path_)) return;
    if (errno != EEXIST) throw_errno(fmt::format("create {}", path_), errno);
    if (!overwrite_) fail(ErrorKind::exists, "{} exists already", path_);
    // linkat never replaces, rename does: go through a name that is not used otherwise.
    for (int attempt = 0;; ++attempt) {
      const std::string name = fmt::format("{}.{}.{}", path_, ::getpid(), attempt);
      if (link_as(name)) {
        temporary_name_ = name;
        break;
      }
      if (errno != EEXIST || attempt > 100) throw_errno(fmt::format("create {}", name), errno);
    }
  } else if (!overwrite_) {
    if (::link(temporary_name_.c_str(), path_.c_str()) != 0) {
      if (errno == EEXIST) fail(ErrorKind::exists, "{} exists already", path_);
      throw_errno(fmt::format("create {}", path_), errno);
    }
    return;  // the destructor removes the temporary name
  }
  if (::rename(temporary_name_.c_str(), path_.c_str()) != 0)
    throw_errno(fmt::format("create {}", path_), errno);
  temporary_name_.clear();
}

Writer::Writer(std::string path, bool overwrite, std::vector<Segment>& segments)
    : file_(std::move(path), overwrite) {
  const std::uint64_t headers = sizeof(Elf64_Ehdr) + (segments.size() + 1) * sizeof(Elf64_Phdr) +
                                sizeof(Elf64_Shdr);  // the section header of PN_XNUM
  std::uint64_t offset = page_up(headers);
  for (Segment& segment : segments) {
    segment.file_offset = offset;
    offset += page_up(segment.file_bytes);
  }
  notes_offset_ = offset;
  segments_ = segments;
}

void Writer::write_memory(std::span<const std::byte> bytes, std::uint64_t file_offset) {
  pwrite_all(file_.fd(), bytes, file_offset, file_.path());
}

void Writer::finish(const std::vector<Note>& notes, const Json& record) {
  const std::size_t program_headers = segments_.size() + 1;
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_ident[EI_OSABI] = ELFOSABI_NONE;
  header.e_type = ET_CORE;
  header.e_machine = arch::kElfMachine;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(program_headers);
  Elf64_Shdr many{};
  if (program_headers >= PN_XNUM) {
    // elf(5): the true number stands in sh_info of section header 0.
    header.e_phnum = PN_XNUM;
    header.e_shoff = sizeof(Elf64_Ehdr) + program_headers * sizeof(Elf64_Phdr);
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 1;
    many.sh_info = static_cast<Elf64_Word>(program_headers);
  }

  std::vector<std::byte> note_bytes;
  for (const Note& note : notes) append_note(note_bytes, note);
  auto our_bytes = make_record_note(record, file_.path());

  std::vector<Elf64_Phdr> table(program_headers);
  table[0].p_type = PT_NOTE;
  table[0].p_offset = notes_offset_;
  table[0].p_filesz = note_bytes.size() + our_bytes.size();
  table[0].p_align = 4;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const Segment& segment = segments_[i];
    Elf64_Phdr& entry = table[i + 1];
    entry.p_type = PT_LOAD;
    entry.p_flags = segment.flags;
    entry.p_offset = segment.file_offset;
    entry.p_vaddr = segment.start.value;
    entry.p_filesz = segment.file_bytes;
    entry.p_memsz = segment.memory_bytes;
    entry.p_align = kPageSize;
  }

  std::vector<std::byte> front;
  append(front, &header, sizeof header);
  append(front, table.data(), table.size() * sizeof(Elf64_Phdr));
  if (header.e_phnum == PN_XNUM) append(front, &many, sizeof many);

  seal_record_note(our_bytes, front, note_bytes);
  pwrite_all(file_.fd(), note_bytes, notes_offset_, file_.path());
  pwrite_all(file_.fd(), our_bytes, notes_offset_ + note_bytes.size(), file_.path());
  pwrite_all(file_.fd(), front, 0, file_.path());
}

Reader Writer::read_back(Json record) const {
  UniqueFd again(::fcntl(file_.fd(), F_DUPFD_CLOEXEC, 0));
  if (!again) throw_errno(fmt::format("read {}", file_.path()), errno);
  return Reader::written(std::move(again), file_.path(), std::move(record));
}

std::uint64_t Writer::publish() {
  fault_point("save-publish");
  struct stat status {};
  if (::fstat(file_.fd(), &status) != 0) throw_errno(fmt::format("stat {}", file_.path()), errno);
  file_.publish();
  constexpr std::uint64_t kBlockBytes = 512;  // stat(2)
  return static_cast<std::uint64_t>(status.st_blocks) * kBlockBytes;
}

}  // namespace ckpt::image
