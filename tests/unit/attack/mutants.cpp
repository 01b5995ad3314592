// usage: ckpt-mutants IMAGE COUNT SEED [DIRECTORY]
//
// Makes mutants of a snapshot, as somebody would who knows the format: the record is changed value
// by value (or its bytes, the table of extents or the headers are), and the digests are made right
// again, so that the mutants get past them. Each is looked at as far as can be done without
// starting anything: header, record, typed state, description, check of files and memory. It may be
// taken or refused by an Error of one line. Whatever else comes of it is a harm: another exception,
// a signal, memory or time without bounds. The mutant is then written to the working directory, and
// the exit status is 1. With a DIRECTORY the mutants are written there, and not looked at.
//
// The same arguments make the same mutants.
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "image/fields.hpp"
#include "image/reader.hpp"
#include "image/writer.hpp"
#include "snapshot/describe.hpp"
#include "snapshot/kernel_pages.hpp"
#include "snapshot/snapshot.hpp"

namespace {

using ckpt::image::Json;

constexpr std::uint64_t kMostAddressSpace = 4ULL << 30U;
constexpr long kMostResidentKiB = 512L << 10U;
constexpr unsigned kMostSeconds = 60;  // for one mutant, on a machine however slow

using Random = std::mt19937_64;

std::size_t below(Random& random, std::size_t limit) { return limit == 0 ? 0 : random() % limit; }
bool once_in(Random& random, std::size_t times) { return below(random, times) == 0; }

// -- values ---------------------------------------------------------------------------------------

Json some_number(Random& random) {
  constexpr auto kNumbers = std::to_array<std::uint64_t>({0,
                                                          1,
                                                          2,
                                                          3,
                                                          7,
                                                          8,
                                                          63,
                                                          64,
                                                          65,
                                                          127,
                                                          128,
                                                          255,
                                                          256,
                                                          4095,
                                                          4096,
                                                          4097,
                                                          65535,
                                                          65536,
                                                          1ULL << 20U,
                                                          0x7fffffff,
                                                          0x80000000,
                                                          0xffffffff,
                                                          0x100000000,
                                                          1ULL << 40U,
                                                          0x7ffffffff000,
                                                          0x7fffffffffff,
                                                          1ULL << 47U,
                                                          0x00fffffffffff000,
                                                          0x7fffffffffffffff,
                                                          1ULL << 63U,
                                                          0xfffffffffffff000,
                                                          0xffffffffffffffff});
  if (once_in(random, 4)) return random();
  const std::uint64_t number = kNumbers.at(below(random, kNumbers.size()));
  if (once_in(random, 4)) return -static_cast<std::int64_t>(number >> 1U);
  return number;
}

Json some_text(Random& random) {
  static const std::vector<std::string> texts = {"",
                                                 "/",
                                                 ".",
                                                 "..",
                                                 "../../x",
                                                 "/proc/self/mem",
                                                 "/dev/zero",
                                                 "/dev/tty",
                                                 "socket:[1]",
                                                 "pipe:[1]",
                                                 "anon_inode:[eventpoll]",
                                                 "rwxp",
                                                 "r--s",
                                                 "[vdso]",
                                                 "[stack]",
                                                 "[heap]",
                                                 "\x1b[2J",
                                                 "\xc2\x9b"
                                                 "1m",
                                                 "\xff\xfe",
                                                 std::string("a\0b", 3),
                                                 "\n",
                                                 "anonymous",
                                                 "private-file",
                                                 "shared-file",
                                                 "kernel",
                                                 "lost",
                                                 "file",
                                                 "pipe",
                                                 "epoll",
                                                 "socket",
                                                 "%s%n",
                                                 "a b"};
  if (once_in(random, 12)) return std::string(below(random, 70'000), 'x');
  return texts[below(random, texts.size())];
}

Json some_bytes(Random& random) {
  constexpr auto kSizes = std::to_array<std::size_t>(
      {0, 1, 4, 7, 8, 12, 31, 32, 48, 127, 128, 512, 576, 4095, 4096, 11'008, 65'536, 1U << 20U});
  std::vector<std::uint8_t> bytes(kSizes.at(below(random, kSizes.size())));
  if (once_in(random, 2))
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
  return Json::binary(std::move(bytes));
}

Json some_value(Random& random) {
  switch (below(random, 9)) {
    case 0: return nullptr;
    case 1: return once_in(random, 2);
    case 2:
      return std::to_array<double>(
                 {0.5, -1.0, 1e300, std::numeric_limits<double>::infinity(), std::nan("")})
          .at(below(random, 5));
    case 3: return Json::array();
    case 4: return Json::object();
    case 5: return some_text(random);
    case 6: return some_bytes(random);
    default: return some_number(random);
  }
}

// -- changes --------------------------------------------------------------------------------------

void collect(Json& value, std::vector<Json*>& nodes) {
  nodes.push_back(&value);
  if (value.is_structured())
    for (auto& item : value) collect(item, nodes);
}

void change_number(Random& random, Json& value) {
  const auto number = value.get<std::uint64_t>();
  switch (below(random, 5)) {
    case 0: value = number + 1; break;
    case 1: value = number - 1; break;
    case 2: value = number ^ 1ULL << below(random, 64); break;
    case 3: value = number + 4096 * (below(random, 3) - 1); break;
    default: value = some_number(random);
  }
}

void change_bytes(Random& random, Json& value) {
  auto& bytes = value.get_binary();
  if (bytes.empty() || once_in(random, 3)) {
    bytes.resize(below(random, 2 * bytes.size() + 64));
    return;
  }
  for (std::size_t i = 0; i <= below(random, 8); ++i)
    bytes[below(random, bytes.size())] = static_cast<std::uint8_t>(random());
}

void change_array(Random& random, Json& value) {
  if (value.empty()) {
    value.push_back(some_value(random));
    return;
  }
  const auto index = static_cast<std::ptrdiff_t>(below(random, value.size()));
  switch (below(random, 4)) {
    case 0: value.erase(value.begin() + index); break;
    case 1: {
      const Json copy = value[static_cast<std::size_t>(index)];
      for (std::size_t i = 0; i <= below(random, once_in(random, 20) ? 2000 : 4); ++i)
        value.push_back(copy);
      break;
    }
    case 2: std::swap(value.front(), value.back()); break;
    default: value.push_back(some_value(random));
  }
}

void change_object(Random& random, Json& value) {
  if (value.empty()) {
    value["x"] = some_value(random);
    return;
  }
  auto at = value.begin();
  std::advance(at, static_cast<std::ptrdiff_t>(below(random, value.size())));
  const std::string key = at.key();
  const Json item = at.value();
  if (once_in(random, 2)) {
    value.erase(key);
    return;
  }
  value.erase(key);
  value[once_in(random, 2) ? some_text(random).get<std::string>() : key + "x"] = item;
}

void change(Random& random, Json& record) {
  std::vector<Json*> nodes;
  collect(record, nodes);
  Json& value = *nodes[below(random, nodes.size())];
  if (once_in(random, 4)) {
    value = some_value(random);
  } else if (once_in(random, 6)) {
    // What is right elsewhere.
    value = Json(*nodes[below(random, nodes.size())]);
  } else if (value.is_array()) {
    change_array(random, value);
  } else if (value.is_object()) {
    change_object(random, value);
  } else if (value.is_binary()) {
    change_bytes(random, value);
  } else if (value.is_number_integer()) {
    change_number(random, value);
  } else {
    value = some_value(random);
  }
}

void change_extents(Random& random, Json& record) {
  const auto lists = record.find("extents");
  if (lists == record.end() || !lists->is_array() || lists->empty()) return;
  Json* packed = &lists->front();
  if (!packed->is_binary() || packed->get_binary().size() % 32 != 0) return;
  auto extents = ckpt::image::unpack_extents(packed->get_binary());
  if (extents.empty()) return;
  auto& extent = extents[below(random, extents.size())];
  std::array<std::uint64_t*, 4> fields = {&extent.start.value, &extent.file_offset,
                                          &extent.size_bytes, &extent.digest};
  Json number = *fields.at(below(random, fields.size()));
  change_number(random, number);
  *fields.at(below(random, fields.size())) =
      number.is_number_unsigned() ? number.get<std::uint64_t>()
                                  : static_cast<std::uint64_t>(number.get<std::int64_t>());
  if (once_in(random, 8)) extents.push_back(extents[below(random, extents.size())]);
  *packed = ckpt::image::encode(ckpt::image::pack_extents(extents));
}

template <typename Bytes>
void change_raw(Random& random, Bytes& bytes, std::size_t from) {
  if (bytes.size() <= from) return;
  for (std::size_t i = 0; i <= below(random, 4); ++i) {
    const std::size_t at = from + below(random, bytes.size() - from);
    bytes[at] = static_cast<typename Bytes::value_type>(random());
  }
}

// -- a mutant -------------------------------------------------------------------------------------

/// A file with the snapshot's content, whose notes are written anew for each mutant.
class Mutants {
 public:
  explicit Mutants(const std::string& path)
      : reader_(ckpt::image::Reader::open(path)), record_(reader_.record()) {
    record_["extents"] =
        Json::array({ckpt::image::encode(ckpt::image::pack_extents(reader_.extents()))});
    front_.resize(reader_.front_bytes());
    others_.resize(reader_.other_notes_bytes());
    read(front_, 0);
    read(others_, reader_.notes_offset());
    file_.reset(::memfd_create("mutant", MFD_CLOEXEC));
    ckpt::copy_content(reader_.fd(), file_.get(), reader_.file_bytes(), "mutant");
  }

  /// Makes the mutant of this number, and returns the file it is in.
  const ckpt::UniqueFd& make(Random& random) {
    Json record = record_;
    for (std::size_t i = 0; i <= below(random, 4); ++i) change(random, record);
    if (once_in(random, 10)) change_extents(random, record);
    auto cbor = Json::to_cbor(record);
    if (once_in(random, 20)) change_raw(random, cbor, 0);
    auto front = front_;
    auto others = others_;
    if (once_in(random, 40)) change_raw(random, front, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr));
    if (once_in(random, 40)) change_raw(random, others, 0);
    write(front, others, cbor);
    return file_;
  }

 private:
  void read(std::vector<std::byte>& into, std::uint64_t at) const {
    if (!ckpt::pread_exact(reader_.fd(), into, at, reader_.path()))
      ckpt::fail(ckpt::ErrorKind::damaged, "{}: truncated", reader_.path());
  }

  void write(std::vector<std::byte>& front, const std::vector<std::byte>& others,
             const std::vector<std::uint8_t>& cbor) {
    const std::uint64_t at = reader_.notes_offset();
    Elf64_Nhdr head{5, static_cast<Elf64_Word>(sizeof(ckpt::image::RecordHead) + cbor.size()),
                    ckpt::image::kRecordNoteType};
    Elf64_Phdr notes{};
    std::memcpy(&notes, front.data() + sizeof(Elf64_Ehdr), sizeof notes);
    const std::size_t padded = (cbor.size() + 3) & ~std::size_t{3};
    notes.p_filesz = others.size() + sizeof head + 8 + sizeof(ckpt::image::RecordHead) + padded;
    std::memcpy(front.data() + sizeof(Elf64_Ehdr), &notes, sizeof notes);
    std::vector<std::byte> surround = front;
    surround.insert(surround.end(), others.begin(), others.end());
    ckpt::image::RecordHead digests;
    digests.record_digest = ckpt::digest64(std::as_bytes(std::span(cbor)));
    digests.surround_digest = ckpt::digest64(surround);
    std::vector<std::byte> bytes = others;
    const auto append = [&bytes](const void* data, std::size_t size) {
      const auto* first = static_cast<const std::byte*>(data);
      bytes.insert(bytes.end(), first, first + size);
    };
    append(&head, sizeof head);
    append("CKPT\0\0\0\0", 8);
    append(&digests, sizeof digests);
    append(cbor.data(), cbor.size());
    bytes.resize(notes.p_filesz);
    if (::ftruncate(file_.get(), static_cast<off_t>(at + bytes.size())) != 0)
      ckpt::throw_errno("ftruncate", errno);
    ckpt::pwrite_all(file_.get(), front, 0, "mutant");
    ckpt::pwrite_all(file_.get(), bytes, at, "mutant");
  }

  ckpt::image::Reader reader_;
  Json record_;
  std::vector<std::byte> front_;
  std::vector<std::byte> others_;
  ckpt::UniqueFd file_;
};

void keep(const ckpt::UniqueFd& mutant, const std::string& path) {
  const auto copy = ckpt::open_file(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  const auto size = ::lseek(mutant.get(), 0, SEEK_END);
  ckpt::copy_content(mutant.get(), copy.get(), static_cast<std::uint64_t>(size), path);
}

/// How far a mutant got: 0 refused by the reader, 1 by what makes typed state of it, 2 by the check
/// of what a restore needs, 3 taken.
int look_at(const ckpt::UniqueFd& mutant, bool memory) {
  int got = 0;
  try {
    auto reader = ckpt::image::Reader::from_fd(ckpt::duplicate(mutant.get(), "m"), "m.ckpt");
    got = 1;
    static_cast<void>(ckpt::snapshot::describe(reader));
    const ckpt::snapshot::Snapshot snapshot(std::move(reader));
    got = 2;
    static_cast<void>(ckpt::snapshot::needs_vdso_proxy(snapshot));
    static_cast<void>(ckpt::snapshot::check(snapshot, {}, memory, {}));
    got = 3;
  } catch (const ckpt::Error& error) {
    if (std::string_view(error.what()).find('\n') != std::string_view::npos)
      throw std::logic_error("an error of more than one line");
  }
  return got;
}

// Not ru_maxrss, which counts what had executed us, too.
long peak_kib() {
  const std::string status = ckpt::read_file("/proc/self/status");
  const auto at = status.find("VmHWM:");
  return at == std::string::npos ? 0 : std::stol(status.substr(at + 6));
}

// Where a signal ends us, the file of the mutant is what is left.
std::string name_of_harm;
const ckpt::UniqueFd* mutant_at_hand = nullptr;

void on_end(int signal) {
  // Nothing is sane any more: what can be had of the mutant is worth more than the rules.
  if (mutant_at_hand != nullptr) {
    std::fprintf(stderr, "signal %d by %s\n", signal, name_of_harm.c_str());
    keep(*mutant_at_hand, name_of_harm);
  }
  ::_exit(1);
}

int run(const std::string& image, std::uint64_t count, std::uint64_t seed,
        const std::string& directory) {
  Mutants mutants(image);
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM})
    std::signal(signal, &on_end);
  const rlimit limit{kMostAddressSpace, kMostAddressSpace};
  ::setrlimit(RLIMIT_AS, &limit);
  std::array<std::uint64_t, 4> got{};
  for (std::uint64_t i = 0; i < count; ++i) {
    Random random(seed * 1'000'003 + i);
    const auto& mutant = mutants.make(random);
    if (!directory.empty()) {
      keep(mutant, fmt::format("{}/mutant-{}.ckpt", directory, i));
      continue;
    }
    name_of_harm = fmt::format("mutant-{}-{}.ckpt", seed, i);
    mutant_at_hand = &mutant;
    ::alarm(kMostSeconds);
    try {
      ++got.at(static_cast<std::size_t>(look_at(mutant, i % 16 == 0)));
      if (const long peak = i % 16 == 0 ? peak_kib() : 0; peak > kMostResidentKiB)
        throw std::logic_error(fmt::format("{} KiB of memory", peak));
    } catch (const std::exception& error) {
      fmt::print(stderr, "{}: {}\n", name_of_harm, error.what());
      keep(mutant, name_of_harm);
      return 1;
    }
    ::alarm(0);
  }
  fmt::print("{} mutants: {} refused by the reader, {} as state, {} by the check, {} taken\n",
             count, got[0], got[1], got[2], got[3]);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::span arguments(argv, static_cast<std::size_t>(argc));
  if (arguments.size() < 4) {
    fmt::print(stderr, "usage: ckpt-mutants IMAGE COUNT SEED [DIRECTORY]\n");
    return 2;
  }
  try {
    return run(arguments[1], std::stoull(arguments[2]), std::stoull(arguments[3]),
               arguments.size() > 4 ? arguments[4] : "");
  } catch (const std::exception& error) {
    fmt::print(stderr, "ckpt-mutants: {}\n", error.what());
    return 2;
  }
}
