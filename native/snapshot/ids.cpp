#include "snapshot/ids.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "ids/flights.hpp"
#include "ids/frames.hpp"
#include "ids/go_runtime.hpp"
#include "ids/own_calls.hpp"
#include "ids/signal_frames.hpp"
#include "libc/library.hpp"
#include "libc/musl.hpp"
#include "tracee/stepping.hpp"

namespace ckpt::snapshot {

namespace {

using PathOf = std::function<std::optional<std::string>(const state::KeptFile&)>;

// The ELF files of a program; `path_of` says where the content of one can be read.
std::vector<libc::MappedObject> mapped_objects(const state::AddressSpace& space,
                                               const state::KeptFile& program,
                                               const PathOf& path_of) {
  std::vector<libc::MappedObject> objects;
  std::vector<const state::KeptFile*> files;
  for (const auto& region : space.regions) {
    if (region.backing != state::Backing::private_file) continue;
    const state::KeptFile& file = *region.file;
    const bool again =
        !files.empty() && files.back()->device == file.device && files.back()->inode == file.inode;
    if (!again) {
      const auto path = region.mapping.offset_bytes == 0 ? path_of(file) : std::nullopt;
      if (!path) continue;
      const bool is_program = file.device == program.device && file.inode == program.inode;
      // The library is known by the name it was loaded under; the content may be in the store.
      objects.push_back({*path, file.path, region.mapping.start, {}, is_program});
      files.push_back(&file);
    }
    if (region.mapping.exec)
      objects.back().code.push_back({region.mapping.start, region.mapping.end});
  }
  return objects;
}

// Lets a thread run on, by single steps, until it is out of the translation, or where that has an
// instruction of the library's.
void step_out(Tid tid, const ids::FoundBoundary& boundary) {
  constexpr int kMostSteps = 100'000;
  const auto inside = [&](const tracee::Registers& registers) {
    const Addr counter = registers.pc();
    return counter >= boundary.code.start && counter < boundary.code.end &&
           !ids::original_place(counter, boundary.moved);
  };
  if (!tracee::step_while(tid, inside, kMostSteps))
    fail(ErrorKind::refused, "thread {}: it does not leave the translation of its ids", tid);
}

std::vector<proc::PageRun> lock_places(const state::AddressSpace& space) {
  std::vector<proc::PageRun> places;
  for (const auto& region : space.regions) {
    // What others share may hold their owners, and a shared file is the user's.
    const bool own = region.backing == state::Backing::anonymous ||
                     region.backing == state::Backing::private_file ||
                     region.backing == state::Backing::shared_anonymous;
    if (own && region.mapping.write) places.push_back({region.mapping.start, region.mapping.end});
  }
  return places;
}

// `roomy`: heap and stack can grow as far as they are likely to.
std::vector<proc::PageRun> taken_places(const state::AddressSpace& space,
                                        const std::vector<proc::Mapping>& now, bool roomy) {
  const std::uint64_t heap_room = roomy ? 1ULL << 30U : 1ULL << 20U;
  const std::uint64_t stack_room = roomy ? 256ULL << 20U : 8ULL << 20U;
  std::vector<proc::PageRun> taken;
  for (const auto& region : space.regions)
    taken.push_back({region.mapping.start, region.mapping.end});
  for (const auto& map : now)
    if (map.path != "[vsyscall]") taken.push_back({map.start, map.end});
  taken.push_back({space.bounds.start_brk, space.bounds.brk + heap_room});
  taken.push_back({space.bounds.start_stack - stack_room, space.bounds.start_stack});
  std::sort(taken.begin(), taken.end());
  return taken;
}

ids::BoundaryIds boundary_ids(const Snapshot& snapshot, const FreshIds& fresh) {
  ids::BoundaryIds ids;
  for (std::size_t i = 0; i < snapshot.saved.threads.size(); ++i)
    ids.pairs.push_back({snapshot.saved.threads[i].remembered, fresh.tids[i]});
  const auto& remembered = snapshot.saved.process.remembered;
  // 0: a parent outside of the PID namespace, or none that was known.
  if (remembered.parent > 0) ids.pairs.push_back({remembered.parent, fresh.process.parent});
  ids.group = {remembered.group, fresh.process.group};
  ids.session = {remembered.session, fresh.process.session};
  for (std::size_t i = 0; i < snapshot.saved.children.size(); ++i)
    ids.children.push_back({snapshot.saved.children[i].remembered, fresh.children[i]});
  return ids;
}

std::vector<std::uint64_t> restorers_of(const state::SignalState& signals) {
  std::vector<std::uint64_t> restorers;
  for (const auto& action : signals.actions)
    if (action.restorer != 0) restorers.push_back(action.restorer);
  return restorers;
}

// Where all threads go on, now and after their signal handlers.
std::vector<ids::Stopped> stopped_places(const Snapshot& snapshot, const tracee::Memory& memory) {
  const auto restorers = restorers_of(snapshot.saved.signals);
  const auto stacks = lock_places(snapshot.saved.space);
  std::vector<ids::Stopped> stopped;
  for (const auto& thread : snapshot.saved.threads) {
    if (thread.ended) continue;
    const std::uint64_t base = thread.registers.thread_pointer().value;
    stopped.push_back({thread.remembered, thread.registers, base, {}});
    if (restorers.empty()) continue;
    for (auto before : ids::find_interrupted(thread.registers, memory, restorers, stacks)) {
      before.registers.leave_syscall();  // a handler runs, no call
      stopped.push_back({thread.remembered, before.registers, base, before.place_of_pc()});
    }
  }
  return stopped;
}

// Handlers return to where the instructions are now.
void move_interrupted(std::span<const ids::Stopped> stopped, const tracee::Memory& memory,
                      Addr place) {
  const auto boundary = ids::boundary_in(place, memory);
  if (!boundary || boundary->moved.empty()) return;
  for (const auto& one : stopped) {
    const Addr counter = one.registers.pc();
    const Addr now = ids::place_beside(counter, boundary->patches, boundary->moved);
    if (one.counter_at && now != counter) memory.write_value(one.counter_at, now.value);
  }
}

void put_boundary(const Snapshot& snapshot, const libc::Library& library,
                  state::RestoreContext& inferior, const FreshIds& fresh) {
  const tracee::Memory& memory = inferior.memory;
  auto& notes = inferior.notes;
  constexpr std::string_view kEffect =
      "ids that the program remembers are the old ones, which the kernel does not know";
  if (!library.found()) {
    notes.push_back(fmt::format("new ids: {}: {}",
                                library.is_static ? "a statically linked program without symbols"
                                                  : "no C library that is known was found",
                                kEffect));
    return;
  }
  const auto ids = boundary_ids(snapshot, fresh);
  if (ids.children.size() > arch::kMostBoundaryChildren)
    notes.push_back(fmt::format("new ids: {} of the children that have ended go by their new ids",
                                ids.children.size() - arch::kMostBoundaryChildren));
  const auto places = stopped_places(snapshot, memory);
  ids::Frames frames(library);
  const auto flights = ids::plan_flights(memory, library, frames, places);
  notes.insert(notes.end(), flights.notes.begin(), flights.notes.end());
  const std::uint64_t bytes = ids::boundary_bytes(library, ids, flights);
  const auto mappings = inferior.process.mappings();
  auto place =
      ids::find_boundary_place(library, taken_places(snapshot.saved.space, mappings, true), bytes);
  // A reservation of many TiB may leave nothing but the gap below the stack.
  if (!place)
    place = ids::find_boundary_place(library, taken_places(snapshot.saved.space, mappings, false),
                                     bytes);
  if (!place) {
    notes.push_back(fmt::format("new ids: no room near the C library: {}", kEffect));
    return;
  }
  std::vector<Addr> stopped(places.size());
  std::transform(places.begin(), places.end(), stopped.begin(),
                 [](const ids::Stopped& one) { return one.registers.pc(); });
  for (const auto& name : ids::install_boundary(inferior, library, ids, flights, *place, stopped))
    notes.push_back(
        fmt::format("new ids: {}() could not be changed: it takes and gives the new ids", name));
  move_interrupted(places, memory, *place);
}

bool holds(const tracee::Memory& memory, Addr field, Tid id) {
  Tid found = 0;
  const auto bytes = std::as_writable_bytes(std::span(&found, 1));
  return memory.read_some(field, bytes) == bytes.size() && found == id;
}

// What the C library has of ids: lock functions of the thread's own, those that ask for ids of any.
class OwnIds {
 public:
  OwnIds(const tracee::Memory& memory, const libc::Library& library,
         std::span<const state::ThreadState> threads)
      : memory_(memory), library_(library), frames_(library) {
    for (const auto& thread : threads) all_.insert(thread.tid);
  }

  /// Where a thread has stopped, or has got a signal whose handler has not returned yet. Returns
  /// the registers.
  std::vector<std::string> look(const tracee::Registers& registers, state::ThreadState& thread) {
    const auto take_words = [&](const ids::OwnCopies& copies) {
      thread.id_words.insert(thread.id_words.end(), copies.words.begin(), copies.words.end());
    };
    if (library_.is_locking(registers.pc())) {
      const auto copies = ids::find_own_copies(registers, memory_, library_, frames_,
                                               {thread.tid, id_offset(thread)});
      const auto pointers = state::pointers_of(registers);
      thread.lock_pointers.insert(thread.lock_pointers.end(), pointers.begin(), pointers.end());
      take_words(copies);
      return copies.registers;
    }
    if (!library_.may_ask(registers.pc())) return {};
    const auto copies = ids::find_asked_copies(registers, memory_, library_, frames_, all_);
    take_words(copies);
    return copies.registers;
  }

 private:
  std::optional<std::uint32_t> id_offset(const state::ThreadState& thread) const {
    const Addr base = thread.registers.thread_pointer();
    const auto field = library_.id_field(memory_, base);
    return field ? std::optional(static_cast<std::uint32_t>(*field - base)) : std::nullopt;
  }

  const tracee::Memory& memory_;
  const libc::Library& library_;
  ids::Frames frames_;
  std::set<Tid> all_;
};

void note_copies(const tracee::Memory& memory, OwnIds& own,
                 std::span<const std::uint64_t> restorers, std::span<const proc::PageRun> stacks,
                 state::ThreadState& thread) {
  thread.id_registers = own.look(thread.registers, thread);
  if (restorers.empty() || thread.ended) return;
  for (auto before : ids::find_interrupted(thread.registers, memory, restorers, stacks)) {
    before.registers.leave_syscall();  // a handler runs, no call
    for (const auto& name : own.look(before.registers, thread))
      thread.id_words.push_back(before.place_of(name));
  }
}

// What a program is in which ids cannot be translated.
std::string kind_of_program(const libc::Library& library, const tracee::Memory& memory,
                            std::span<const state::ThreadState> threads) {
  const auto any = [&](const auto& find) {
    return std::any_of(threads.begin(), threads.end(), [&](const state::ThreadState& thread) {
      return !thread.ended && find(memory, thread.registers.thread_pointer(), thread.tid);
    });
  };
  if (any(ids::find_go_id)) return "it is a program of Go's runtime without a C library";
  if (!library.is_static) return "no C library that is known was found in it";
  if (any(libc::find_musl_id)) return "it is statically linked with musl, without symbols";
  return "it is statically linked, and no C library with symbols was found in it";
}

// Whether the C library's own word for the thread's id is one that a restore can renew.
bool is_id_known(const tracee::Memory& memory, const state::ThreadState& thread) {
  return thread.ended || thread.id_field ||
         (thread.tid_address && holds(memory, thread.tid_address, thread.tid));
}

void note_library(state::CaptureContext& context, const libc::Library& library,
                  std::span<const state::ThreadState> threads) {
  const auto add = [&](const std::string& what) {
    context.report.add(state::Severity::changed, "process", "ids", what);
  };
  if (!library.found()) {
    add(kind_of_program(library, context.memory, threads) +
        ": if it must come back with new ids, getpid(), kill() and the like take and give those, "
        "not the ones that the program remembers");
    return;
  }
  const auto unknown = std::count_if(threads.begin(), threads.end(), [&](const auto& thread) {
    return !is_id_known(context.memory, thread);
  });
  if (unknown > 0)
    add(fmt::format(
        "where its C library keeps the ids of {} of its {} threads is not known: if they must come "
        "back with new ids, raise(), pthread_kill() and locks that know their owner go by the old",
        unknown, threads.size()));
}

void note_own_calls(state::CaptureContext& context, std::span<const libc::MappedObject> objects,
                    bool is_static) {
  for (const auto& own : ids::find_own_calls(context.memory, objects, is_static)) {
    std::string calls;
    for (const auto& name : own.calls) calls.append(calls.empty() ? "" : ", ").append(name);
    context.report.add(
        state::Severity::changed, "process", "ids",
        fmt::format("{} makes system calls with ids by itself ({}): if it must come back with new "
                    "ids, {}",
                    own.file, calls,
                    own.is_go ? "Go's runtime goes by the new ones, and os.Getpid() gives them"
                              : "these take and give the new ones, not those that the program "
                                "remembers"));
  }
}

}  // namespace

std::optional<ids::FoundBoundary> hide_boundary(state::CaptureContext& context) {
  auto boundary = ids::find_boundary(context.mappings, context.memory);
  if (!boundary) return boundary;
  for (const Tid tid : context.process.threads()) {
    if (tid == context.process.pid() && context.process.main_ended()) continue;
    if (!context.process.is_kernel_worker(tid)) step_out(tid, *boundary);
  }
  context.hidden.push_back(boundary->mapping);
  for (const auto& patch : boundary->patches) {
    const auto bytes = std::as_bytes(std::span(patch.original)).first(arch::kPatchBytes);
    context.unpatched.emplace_back(Addr{patch.address},
                                   std::vector<std::byte>(bytes.begin(), bytes.end()));
  }
  return boundary;
}

void return_to_library(state::CaptureContext& context,
                       const std::optional<ids::FoundBoundary>& boundary,
                       const state::SignalState& signals,
                       std::vector<state::ThreadState>& threads) {
  if (!boundary || boundary->moved.empty()) return;
  const auto restorers = restorers_of(signals);
  std::vector<proc::PageRun> stacks;
  for (const auto& map : context.mappings)
    if (map.read && map.write) stacks.push_back({map.start, map.end});
  for (auto& thread : threads) {
    if (thread.ended) continue;
    if (!restorers.empty())
      for (const auto& before :
           ids::find_interrupted(thread.registers, context.memory, restorers, stacks)) {
        const auto place = ids::original_place(before.registers.pc(), boundary->moved);
        if (!place) continue;
        const auto bytes = std::as_bytes(std::span(&place->value, 1));
        context.unpatched.emplace_back(before.place_of_pc(),
                                       std::vector<std::byte>(bytes.begin(), bytes.end()));
      }
    if (const auto place = ids::original_place(thread.registers.pc(), boundary->moved))
      thread.registers.set_pc(*place);
  }
}

void note_ids(state::CaptureContext& context, const state::KeptFile& program,
              const state::AddressSpace& space, const std::optional<ids::FoundBoundary>& boundary,
              const state::SignalState& signals, std::vector<state::ThreadState>& threads,
              state::ProcessState& process, std::vector<state::EndedChild>& children) {
  const auto objects = mapped_objects(
      space, program, [&](const state::KeptFile& file) -> std::optional<std::string> {
        return file.object ? context.objects.find(*file.object) : std::nullopt;
      });
  auto library = ids::find_library(objects);
  for (const auto& region : space.regions)
    if (region.mapping.path == "[vdso]")
      library.clocks.push_back({region.mapping.start, region.mapping.end});
  OwnIds own(context.memory, library, threads);
  const auto stacks = lock_places(space);
  const auto restorers = restorers_of(signals);
  for (auto& thread : threads) {
    note_copies(context.memory, own, restorers, stacks, thread);
    const Addr descriptor{thread.pthread != 0 ? thread.pthread
                                              : thread.registers.thread_pointer().value};
    auto field = thread.ended ? std::nullopt : library.id_field(context.memory, descriptor);
    if (!field && !thread.ended)
      field = libc::find_musl_id(context.memory, thread.registers.thread_pointer(), thread.tid);
    if (field && holds(context.memory, *field, thread.tid)) thread.id_field = *field;
  }
  note_library(context, library, threads);
  if (library.found()) note_own_calls(context, objects, library.is_static);
  if (!boundary) return;
  for (auto& thread : threads) thread.remembered = boundary->remembered(thread.tid);
  for (auto& child : children) child.remembered = boundary->remembered(child.pid);
  const auto of_group = [&](Tid real, const arch::IdPair& pair) {
    return pair.real == real && pair.remembered != 0 ? pair.remembered : boundary->remembered(real);
  };
  process.remembered = {boundary->remembered(process.pid), boundary->remembered(process.parent),
                        of_group(process.group, boundary->ids.group),
                        of_group(process.session, boundary->ids.session)};
}

bool ids_kept(const Snapshot& snapshot, const FreshIds& fresh) {
  for (std::size_t i = 0; i < snapshot.saved.threads.size(); ++i)
    if (snapshot.saved.threads[i].remembered != fresh.tids[i]) return false;
  for (std::size_t i = 0; i < snapshot.saved.children.size(); ++i)
    if (snapshot.saved.children[i].remembered != fresh.children[i]) return false;
  return true;
}

namespace {

// A signal handler's frame, and what has been called from it, may lie above what a thread waits in.
constexpr std::size_t kStackTopBytes = 16384;

std::unordered_set<std::uint64_t> words_in_use(const Snapshot& snapshot,
                                               const tracee::Memory& memory) {
  std::unordered_set<std::uint64_t> words;
  std::vector<std::uint64_t> stack(kStackTopBytes / sizeof(std::uint64_t));
  for (const auto& thread : snapshot.saved.threads) {
    for (const Addr value : state::pointers_of(thread.registers)) words.insert(value.value);
    const Addr top{thread.registers.sp().value & ~(sizeof(std::uint64_t) - 1)};
    const std::size_t got = memory.read_some(top, std::as_writable_bytes(std::span(stack)));
    words.insert(stack.begin(),
                 stack.begin() + static_cast<std::ptrdiff_t>(got / sizeof(std::uint64_t)));
  }
  return words;
}

// musl's locks; a file that a thread was using is in the frames that called for its bytes.
void renew_musl(const Snapshot& snapshot, const tracee::Memory& memory, const FreshIds& fresh) {
  constexpr std::size_t kFramesBytes = 4096;
  std::vector<libc::MuslThread> threads;
  for (std::size_t i = 0; i < snapshot.saved.threads.size(); ++i) {
    const auto& thread = snapshot.saved.threads[i];
    const Addr base = thread.registers.thread_pointer();
    if (thread.ended || !libc::find_musl_id(memory, base, thread.tid)) continue;
    auto& found = threads.emplace_back(libc::MuslThread{
        base, thread.tid, fresh.tids[i], std::vector<std::uint64_t>(kFramesBytes / 8)});
    const Addr top{thread.registers.sp().value & ~(sizeof(std::uint64_t) - 1)};
    const auto got = memory.read_some(top, std::as_writable_bytes(std::span(found.words)));
    found.words.resize(got / sizeof(std::uint64_t));
    for (const Addr value : state::pointers_of(thread.registers))
      found.words.push_back(value.value);
  }
  libc::renew_musl_owners(memory, threads);
}

}  // namespace

std::vector<libc::MovedLock> renew_ids(const Snapshot& snapshot, state::FileSource& files,
                                       state::RestoreContext& inferior, const FreshIds& fresh) {
  const tracee::Memory& memory = inferior.memory;
  libc::IdMap changed;
  std::vector<libc::RobustList> robust_lists;
  std::vector<libc::InsideLock> inside;
  std::vector<ids::GoThread> go_threads;
  for (std::size_t i = 0; i < snapshot.saved.threads.size(); ++i) {
    const auto& thread = snapshot.saved.threads[i];
    changed.add(thread.tid, fresh.tids[i]);
    if (!thread.ended)
      go_threads.push_back({thread.registers.thread_pointer(), thread.tid, fresh.tids[i]});
    robust_lists.push_back({thread.tid, thread.robust_list.head, thread.robust_list.head_bytes});
    if (!thread.lock_pointers.empty()) inside.push_back({thread.tid, thread.lock_pointers});
  }
  auto locks = libc::move_owners(
      memory, snapshot.reader, lock_places(snapshot.saved.space), robust_lists, inside,
      [&] { return words_in_use(snapshot, memory); }, changed);
  ids::renew_go_ids(memory, go_threads);
  renew_musl(snapshot, memory, fresh);
  if (ids_kept(snapshot, fresh)) return locks;
  const auto objects =
      mapped_objects(snapshot.saved.space, snapshot.saved.program,
                     [&](const state::KeptFile& file) -> std::optional<std::string> {
                       try {
                         return files.content_path(file);
                       } catch (const Error&) {
                         return std::nullopt;  // a file that was too large to be kept: no library
                       }
                     });
  put_boundary(snapshot, ids::find_library(objects), inferior, fresh);
  return locks;
}

libc::IdMap changed_ids(const Snapshot& snapshot, const std::vector<Tid>& tids) {
  libc::IdMap ids;
  for (std::size_t i = 0; i < tids.size(); ++i) ids.add(snapshot.saved.threads[i].tid, tids[i]);
  return ids;
}

namespace {

// What must be added to a word with an id; a lock word has flags beside it (futex(2)).
std::uint32_t change_of(std::uint64_t word, const libc::IdMap& ids) {
  constexpr std::uint64_t kFlags = 0xc0000000U;
  constexpr unsigned kClockShift = 3;
  if (const Tid id = ids::id_of_clock(word); id > 0) {
    const auto now = ids.find(id);
    return now ? static_cast<std::uint32_t>(id - *now) << kClockShift : 0;
  }
  const std::uint64_t id = word & ~kFlags;
  if (id >> 31U != 0) return 0;
  const auto now = ids.find(static_cast<Tid>(id));
  return now ? static_cast<std::uint32_t>(*now) - static_cast<std::uint32_t>(id) : 0;
}

arch::Word renewed(arch::Word value, const libc::IdMap& ids) {
  constexpr std::uint64_t kLow = 0xffffffffU;
  const auto low = static_cast<std::uint32_t>(value) + change_of(value, ids);
  return (value & ~kLow) | low;
}

}  // namespace

void enter_stub(state::ThreadState& thread, const std::optional<ids::FoundBoundary>& boundary) {
  if (!boundary) return;
  thread.registers.set_pc(ids::place_beside(thread.registers.pc(), boundary->patches,
                                            boundary->moved, state::calls_again(thread)));
}

void renew_copies(state::ThreadState& thread, const tracee::Memory& memory,
                  const libc::IdMap& ids) {
  if (!ids.changes()) return;
  // A sleep on a CPU clock is a call with an id that is made again.
  const std::string clock_register = ids::name_of_argument(0);
  if (thread.registers.syscall_number() == SYS_clock_nanosleep &&
      std::find(thread.id_registers.begin(), thread.id_registers.end(), clock_register) ==
          thread.id_registers.end() &&
      ids::id_of_clock(thread.registers.arg(0)) > 0)
    thread.registers.set_arg(0, renewed(thread.registers.arg(0), ids));
  for (const auto& name : thread.id_registers)
    if (const auto index = ids::general_register(name))
      arch::set_register(thread.registers, *index,
                         renewed(arch::get_register(thread.registers, *index), ids));
  // Once each: the new id of one thread may be the old one of another.
  for (const Addr at : std::set<Addr>(thread.id_words.begin(), thread.id_words.end())) {
    const auto word = memory.read_value<std::uint32_t>(at);
    if (const auto change = change_of(word, ids); change != 0)
      memory.write_value(at, word + change);
  }
}

}  // namespace ckpt::snapshot
