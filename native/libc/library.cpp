#include "libc/library.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.hpp"
#include "libc/elf_symbols.hpp"

namespace ckpt::libc {

namespace {

// In a static program the library's code lies among the program's own; these are its functions that
// ask for an id to use it with what struct pthread holds.
bool is_internal_name(std::string_view name) {
  constexpr std::array<std::string_view, 12> kBegins = {
      "pthread_", "__pthread_", "___pthread_", "nptl_",   "__nptl_",      "sighandler_setxid",
      "setxid_",  "sigcancel_", "timer_",      "__timer", "start_thread", "__libc_fork"};
  constexpr std::array<std::string_view, 6> kNames = {"raise", "gsignal", "abort",
                                                      "_Fork", "fork",    "__fork"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() ||
         std::any_of(kBegins.begin(), kBegins.end(),
                     [&](std::string_view begin) { return name.starts_with(begin); });
}

bool is_locking_name(std::string_view name) {
  constexpr std::array<std::string_view, 7> kParts = {
      "pthread_mutex_", "pthread_rwlock_", "pthread_cond_", "mtx_", "cnd_", "__lll_", "__futex_"};
  return std::any_of(kParts.begin(), kParts.end(),
                     [&](std::string_view part) { return name.find(part) != name.npos; });
}

// Functions that signal threads, or change what the kernel has of them, by ids of their own; those
// for all user and group ids tell all threads.
bool is_asking_name(std::string_view name) {
  constexpr std::array<std::string_view, 27> kNames = {"raise",
                                                       "gsignal",
                                                       "abort",
                                                       "pthread_kill",
                                                       "__pthread_kill",
                                                       "pthread_sigqueue",
                                                       "pthread_cancel",
                                                       "pthread_setschedparam",
                                                       "__pthread_setschedparam",
                                                       "pthread_getschedparam",
                                                       "__pthread_getschedparam",
                                                       "pthread_setschedprio",
                                                       "pthread_setaffinity_np",
                                                       "pthread_getaffinity_np",
                                                       "pthread_setname_np",
                                                       "pthread_getname_np",
                                                       "setuid",
                                                       "seteuid",
                                                       "setreuid",
                                                       "setresuid",
                                                       "setgid",
                                                       "setegid",
                                                       "setregid",
                                                       "setresgid",
                                                       "setgroups",
                                                       "__pthread_kill_internal",
                                                       "__pthread_kill_implementation"};
  // Compilers add endings to copies of a function.
  return std::find(kNames.begin(), kNames.end(), name.substr(0, name.find('.'))) != kNames.end();
}

bool is_clock_name(std::string_view name) {
  return name == "clock_gettime" || name == "clock_getres" || name == "clock_settime" ||
         name == "clock_nanosleep" || name == "__clock_gettime" || name == "__clock_nanosleep";
}

// Functions without a symbol lie beside those of the same source file that have one: from the end
// of the symbol before to the begin of the one after.
std::vector<proc::PageRun> ranges_of(const ElfSymbols& elf, std::uint64_t bias,
                                     bool (*wanted)(std::string_view)) {
  std::vector<const Symbol*> order;
  for (const auto& symbol : elf.symbols)
    if (symbol.kind == SymbolKind::function) order.push_back(&symbol);
  std::sort(order.begin(), order.end(),
            [](const Symbol* a, const Symbol* b) { return a->value < b->value; });
  std::vector<proc::PageRun> ranges;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (!wanted(order[i]->name)) continue;
    const Addr begin{bias +
                     (i > 0 ? order[i - 1]->value + order[i - 1]->size_bytes : order[i]->value)};
    const Addr own{bias + order[i]->value};
    const Addr end{bias + (i + 1 < order.size() ? order[i + 1]->value
                                                : order[i]->value + order[i]->size_bytes)};
    ranges.push_back({std::min(begin, own), end});
  }
  return ranges;
}

void add_object(const MappedObject& object, const ElfSymbols& elf, const WantedFunctions& wanted,
                Library& library) {
  const std::uint64_t bias = object.start.value - elf.first_address;
  library.objects.push_back({object.path, bias});
  library.is_within_program = library.is_within_program || object.is_program;
  for (const auto& symbol : elf.symbols) {
    const Addr address{bias + symbol.value};
    if (symbol.kind == SymbolKind::object) {
      if (symbol.name == "_thread_db_pthread_tid") library.id_descriptor = address;
      continue;
    }
    if (symbol.kind == SymbolKind::thread_local_object) {
      // The block ends where the thread's control block, to which FS points, begins. Only a static
      // program's is known to lie there.
      if (object.is_program && (symbol.name == "errno" || symbol.name == "__libc_errno"))
        library.errno_offset = static_cast<std::int64_t>(symbol.value - elf.tls_bytes);
      continue;
    }
    if (symbol.name == "__errno_location") library.errno_location = address;
    if (wanted.is_boundary(symbol.name))
      library.functions.push_back({symbol.name, address, symbol.size_bytes});
    if (wanted.is_resulting(symbol.name))
      library.resulting.push_back({symbol.name, address, symbol.size_bytes});
    if (object.is_program && is_internal_name(symbol.name))
      library.internal.push_back({address, address + symbol.size_bytes});
  }
  if (!object.is_program)
    library.internal.insert(library.internal.end(), object.code.begin(), object.code.end());
  const auto add = [&](std::vector<proc::PageRun>& to, bool (*is_one)(std::string_view)) {
    const auto ranges = ranges_of(elf, bias, is_one);
    to.insert(to.end(), ranges.begin(), ranges.end());
  };
  add(library.locking, is_locking_name);
  add(library.asking, is_asking_name);
  add(library.clocks, is_clock_name);
}

bool is_static_libc(const ElfSymbols& elf) {
  return elf.is_static && std::any_of(elf.symbols.begin(), elf.symbols.end(),
                                      [](const auto& s) { return s.name == "__libc_start_main"; });
}

}  // namespace

bool is_library_name(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  if (name == "libc.so") return true;  // musl's, where its dynamic linker is a link to it
  constexpr std::array<std::string_view, 5> kBegins = {"libc.so.", "libc-2.", "libpthread.so.",
                                                       "libpthread-2.", "ld-musl-"};
  return std::any_of(kBegins.begin(), kBegins.end(),
                     [&](std::string_view begin) { return name.starts_with(begin); });
}

std::optional<Addr> Library::id_field(const tracee::Memory& memory, Addr thread) const {
  // struct pthread's field as libthread_db is told of it (DB_STRUCT_FIELD in glibc's
  // nptl_db/structs.def): size in bits, number of elements, offset.
  std::array<std::uint32_t, 3> field{};
  const auto bytes = std::as_writable_bytes(std::span(field));
  if (!id_descriptor || memory.read_some(id_descriptor, bytes) != bytes.size()) return std::nullopt;
  constexpr std::uint32_t kMostOffset = 1U << 16U;
  if (field[0] != 8 * sizeof(Tid) || field[1] != 1 || field[2] > kMostOffset) return std::nullopt;
  return thread + field[2];
}

namespace {

bool is_within(std::span<const proc::PageRun> runs, Addr address) {
  return std::any_of(runs.begin(), runs.end(), [&](const proc::PageRun& run) {
    return run.start <= address && address < run.end;
  });
}

}  // namespace

bool Library::is_locking(Addr address) const { return is_within(locking, address); }
bool Library::is_asking(Addr address) const { return is_within(asking, address); }
bool Library::is_clock(Addr address) const { return is_within(clocks, address); }
bool Library::may_ask(Addr address) const {
  return is_within_program || is_within(internal, address) || is_clock(address) ||
         is_asking(address) ||
         std::any_of(functions.begin(), functions.end(), [&](const LibraryFunction& function) {
           return function.address <= address && address < function.address + function.size_bytes;
         });
}

Library find_library(std::span<const MappedObject> objects, const WantedFunctions& wanted) {
  Library library;
  for (const auto& object : objects) {
    if (!object.is_program && !is_library_name(object.name)) continue;
    try {
      const ElfSymbols elf = read_symbols(object.path);
      if (object.is_program) library.is_static = elf.is_static;
      if (!object.is_program || is_static_libc(elf)) add_object(object, elf, wanted, library);
    } catch (const Error&) {  // NOLINT(bugprone-empty-catch): as if it were not there
    }
  }
  std::sort(library.internal.begin(), library.internal.end());
  return library;
}

}  // namespace ckpt::libc
