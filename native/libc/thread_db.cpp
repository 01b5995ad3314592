#include "libc/thread_db.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/unique_fd.hpp"
#include "libc/elf_symbols.hpp"
#include "libc/library.hpp"
#include "proc/process_dir.hpp"
#include "tracee/memory.hpp"
#include "tracee/ptrace.hpp"

extern "C" {
#include <proc_service.h>
#include <thread_db.h>
}

// The process that libthread_db looks at. NOLINTNEXTLINE(readability-identifier-naming): its name
struct ps_prochandle {
  explicit ps_prochandle(ckpt::Tid process) : pid(process), memory(process) {}
  ckpt::Tid pid;
  ckpt::tracee::Memory memory;
  std::unordered_map<std::string, ckpt::Addr> symbols;
};

namespace ckpt::libc {

namespace {

// A path under which the mapped file can be read now, and no other file in its place.
std::optional<std::string> readable_path(const proc::ProcessDir& process,
                                         const proc::Mapping& mapping) {
  const auto range = fmt::format("map_files/{:x}-{:x}", mapping.start.value, mapping.end.value);
  for (const auto& path :
       {process.path("root") + mapping.path, process.path(range), process.path("exe")}) {
    struct stat status {};
    if (::stat(path.c_str(), &status) != 0 || status.st_ino != mapping.inode) continue;
    if (gnu_dev_major(status.st_dev) != mapping.dev_major ||
        gnu_dev_minor(status.st_dev) != mapping.dev_minor)
      continue;
    if (::access(path.c_str(), R_OK) == 0) return path;
  }
  return std::nullopt;
}

// What libthread_db asks for. All of it is in the C library and the dynamic linker, or in a static
// program.
void find_symbols(const proc::ProcessDir& process, ps_prochandle& target) {
  const auto wanted = [](const std::string& name) {
    return name.starts_with("_thread_db_") || name.find("nptl_") != name.npos ||
           name == "_rtld_global" || name.starts_with("_dl_");
  };
  for (const auto& mapping : process.mappings()) {
    if (mapping.offset_bytes != 0 || !mapping.has_object() || mapping.shared) continue;
    const bool is_linker = mapping.path.find("/ld-linux") != std::string::npos;
    const bool is_library = is_linker || is_library_name(mapping.path);
    if (!is_library && mapping.path != process.link("exe")) continue;
    const auto path = readable_path(process, mapping);
    if (!path) continue;
    const ElfSymbols elf = read_symbols(*path);
    if (!is_library && !elf.is_static) continue;
    for (const auto& symbol : elf.symbols)
      if (symbol.kind != SymbolKind::thread_local_object && wanted(symbol.name))
        target.symbols.emplace(symbol.name,
                               Addr{mapping.start.value - elf.first_address + symbol.value});
  }
}

struct AgentDeleter {
  void operator()(td_thragent_t* agent) const { td_ta_delete(agent); }
};

int note_thread(const td_thrhandle_t* thread, void* known) {
  static_cast<std::unordered_set<const void*>*>(known)->insert(thread->th_unique);
  return 0;
}

}  // namespace

std::vector<Handle> thread_handles(Tid pid, std::span<const Tid> lwps) {
  std::vector<Handle> handles;
  const proc::ProcessDir process(pid);
  ps_prochandle target(process.through());
  target.pid = pid;
  try {
    find_symbols(process, target);
  } catch (const Error&) {
    return handles;  // a library that cannot be read: as if it were not there
  }
  static const bool initialised = td_init() == TD_OK;
  td_thragent_t* made = nullptr;
  if (!initialised || td_ta_new(&target, &made) != TD_OK) return handles;
  const std::unique_ptr<td_thragent_t, AgentDeleter> agent(made);
  // A thread's descriptor is where its FS base points, whatever that is; the C library has a list
  // of all it knows.
  std::unordered_set<const void*> known;
  if (td_ta_thr_iter(agent.get(), note_thread, &known, TD_THR_ANY_STATE, TD_THR_LOWEST_PRIORITY,
                     TD_SIGNO_MASK, TD_THR_ANY_USER_FLAGS) != TD_OK)
    return handles;
  for (const Tid lwp : lwps) {
    td_thrhandle_t thread{};
    td_thrinfo_t info{};
    if (td_ta_map_lwp2thr(agent.get(), lwp, &thread) != TD_OK ||
        known.count(thread.th_unique) == 0 || td_thr_get_info(&thread, &info) != TD_OK)
      continue;
    handles.push_back({lwp, static_cast<std::uint64_t>(info.ti_tid)});
  }
  return handles;
}

}  // namespace ckpt::libc

// What libthread_db calls. No exception may pass through it.
namespace {

template <typename Function>
ps_err_e answered(Function function) noexcept {
  try {
    return function();
  } catch (...) {
    return PS_ERR;
  }
}

ckpt::Addr address_of(psaddr_t address) {
  return ckpt::Addr{reinterpret_cast<std::uint64_t>(address)};
}

}  // namespace

extern "C" {

ps_err_e ps_pdread(ps_prochandle* target, psaddr_t from, void* into, size_t size_bytes) {
  return answered([&] {
    target->memory.read(address_of(from), {static_cast<std::byte*>(into), size_bytes});
    return PS_OK;
  });
}

// Only events are set up by writing, and events are not asked for here.
ps_err_e ps_pdwrite(ps_prochandle* /*target*/, psaddr_t /*to*/, const void* /*bytes*/,
                    size_t /*size_bytes*/) {
  return PS_ERR;
}

ps_err_e ps_lgetregs(ps_prochandle* /*target*/, lwpid_t lwp, prgregset_t registers) {
  return answered([&] {
    const auto current = ckpt::tracee::get_registers(lwp);
    static_assert(sizeof current >= sizeof(prgregset_t));
    std::memcpy(registers, &current, sizeof(prgregset_t));
    return PS_OK;
  });
}

ps_err_e ps_lsetregs(ps_prochandle* /*target*/, lwpid_t /*lwp*/, const prgregset_t /*registers*/) {
  return PS_ERR;
}

ps_err_e ps_lgetfpregs(ps_prochandle* /*target*/, lwpid_t /*lwp*/, prfpregset_t* /*registers*/) {
  return PS_NOFREGS;
}

ps_err_e ps_lsetfpregs(ps_prochandle* /*target*/, lwpid_t /*lwp*/,
                       const prfpregset_t* /*registers*/) {
  return PS_NOFREGS;
}

// The segment by its place in struct user_regs_struct (<sys/reg.h>).
ps_err_e ps_get_thread_area(ps_prochandle* /*target*/, lwpid_t lwp, int segment,
                            psaddr_t* address) {
  return answered([&] {
    const auto base = ckpt::arch::segment_base(ckpt::tracee::get_registers(lwp), segment);
    if (!base) return PS_BADADDR;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
    *address = reinterpret_cast<psaddr_t>(base->value);
    return PS_OK;
  });
}

pid_t ps_getpid(ps_prochandle* target) { return target->pid; }

ps_err_e ps_pglobal_lookup(ps_prochandle* target, const char* /*object*/, const char* name,
                           psaddr_t* address) {
  return answered([&] {
    const auto found = target->symbols.find(name);
    if (found == target->symbols.end()) return PS_NOSYM;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of the other process
    *address = reinterpret_cast<psaddr_t>(found->second.value);
    return PS_OK;
  });
}

}  // extern "C"
