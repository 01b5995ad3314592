#include "ids/result_sites.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "arch/instructions.hpp"
#include "ids/boundary.hpp"

extern "C" {
// NOLINTBEGIN: as in boundary.cpp
extern const std::byte __start_ckpt_ids[] __attribute__((visibility("hidden")));
#define CKPT_RESULT(name) \
  extern const std::byte ckpt_ids_result_##name[] __attribute__((visibility("hidden")))
CKPT_RESULT(new);
CKPT_RESULT(wait4);
CKPT_RESULT(waitid);
CKPT_RESULT(syscall);
CKPT_RESULT(recvmsg);
CKPT_RESULT(recvmmsg);
#undef CKPT_RESULT
// NOLINTEND
}

namespace ckpt::ids {

namespace {

constexpr int kAnyCall = -1;
constexpr std::size_t kFunctionBytes = 4096;  // of a function that is looked through
constexpr std::size_t kResultStubBytes = 128;

struct ResultFunction {
  std::string_view name;
  int call;
  const std::byte* code;
};

std::span<const ResultFunction> result_functions() {
  static const auto functions = std::to_array<ResultFunction>({
      {"_Fork", SYS_clone, ckpt_ids_result_new},
      {"vfork", arch::kSysVfork, ckpt_ids_result_new},
      {"clone", SYS_clone, ckpt_ids_result_new},
      {"__clone3", SYS_clone3, ckpt_ids_result_new},
      {"wait4", SYS_wait4, ckpt_ids_result_wait4},
      {"waitid", SYS_waitid, ckpt_ids_result_waitid},
      {"recvmsg", SYS_recvmsg, ckpt_ids_result_recvmsg},
      {"recvmmsg", SYS_recvmmsg, ckpt_ids_result_recvmmsg},
      {"syscall", kAnyCall, ckpt_ids_result_syscall},
  });
  return functions;
}

// A system call, and the number that was last loaded in front of it.
struct CallSite {
  std::size_t behind;
  std::optional<int> number;
};

struct WalkedCalls {
  std::vector<CallSite> calls;
  std::vector<std::size_t> targets;  // of branches within the function
};

std::optional<WalkedCalls> walk(std::span<const std::byte> function) {
  WalkedCalls walked;
  std::optional<int> number;
  for (std::size_t at = 0; at < function.size();) {
    const auto code = function.subspan(at);
    const auto one = arch::decode(code);
    if (!one) return std::nullopt;
    if (const auto load = arch::number_load(code, false)) number = load->number;
    at += one->length;
    if (one->flow == arch::Flow::system_call && one->length == arch::kSyscallBytes)
      walked.calls.push_back({at, number});
    const bool goes = one->flow == arch::Flow::branch || one->flow == arch::Flow::jump ||
                      one->flow == arch::Flow::call;
    const auto target = static_cast<std::int64_t>(at) + one->distance;
    if (goes && target >= 0 && target < static_cast<std::int64_t>(function.size()))
      walked.targets.push_back(static_cast<std::size_t>(target));
  }
  return walked;
}

// clone3() is known to glibc itself alone, and in a library without all symbols has no name: its
// code says what it is. Zero bytes long if there is none.
std::optional<libc::LibraryFunction> find_clone3(const tracee::Memory& memory,
                                                 const libc::Library& library) {
  const auto wanted = arch::clone3_code();
  libc::LibraryFunction found{"__clone3", {}, 0};
  for (const auto& run : library.internal) {
    std::vector<std::byte> code(run.end - run.start);
    code.resize(memory.read_some(run.start, code));
    const auto load = wanted.bytes.first(wanted.load_bytes);
    for (auto at = std::search(code.begin(), code.end(), load.begin(), load.end());
         at != code.end(); at = std::search(at + 1, code.end(), load.begin(), load.end())) {
      const auto from = std::span(code).subspan(static_cast<std::size_t>(at - code.begin()));
      if (from.size() < wanted.bytes.size() || found.address ||
          !std::equal(wanted.bytes.begin(), wanted.bytes.end(), from.begin()))
        return std::nullopt;
      found.address = run.start + static_cast<std::uint64_t>(at - code.begin());
      found.size_bytes = wanted.call_bytes;
      while (found.size_bytes < wanted.call_bytes + arch::kPatchBytes) {
        const auto one = arch::decode(from.subspan(found.size_bytes));
        if (!one) return std::nullopt;
        found.size_bytes += one->length;
      }
    }
  }
  return found;
}

class Stubs {
 public:
  Stubs(const tracee::Memory& memory, Addr code_at, Addr stubs_at, std::span<const Addr> stopped)
      : memory_(memory), code_at_(code_at), stubs_at_(stubs_at), stopped_(stopped) {}

  bool add(const libc::LibraryFunction& target, const ResultFunction& function) {
    std::vector<std::byte> code(std::min<std::uint64_t>(target.size_bytes, kFunctionBytes));
    if (memory_.read_some(target.address, code) != code.size()) return false;
    const auto sites = find_result_sites(code, function.call);
    if (!sites || sites->empty()) return false;
    return std::all_of(sites->begin(), sites->end(), [&](std::size_t at) {
      return add_site(std::span(code).subspan(at), target.address + at, function.code);
    });
  }

  ResultStubs result;

 private:
  bool add_site(std::span<const std::byte> code, Addr site, const std::byte* translation) {
    const Addr stub = stubs_at_ + result.code.size();
    auto bytes = arch::result_stub(
        stub, code_at_ + static_cast<std::uint64_t>(translation - __start_ckpt_ids));
    std::size_t moved_bytes = 0;
    const auto moved = arch::move_instructions(code, site, stub + bytes.size(), moved_bytes);
    if (!moved) return false;
    bytes.insert(bytes.end(), moved->begin(), moved->end());
    if (bytes.size() > kResultStubBytes ||
        result.code.size() + kResultStubBytes > arch::kResultStubsBytes)
      return false;
    arch::pad_code(bytes, kResultStubBytes);
    if (std::any_of(stopped_.begin(), stopped_.end(),
                    [&](Addr pc) { return pc > site && pc < site + moved_bytes; }))
      return false;
    result.code.insert(result.code.end(), bytes.begin(), bytes.end());
    ResultPatch& change = result.patches.emplace_back();
    change.patch.address = site.value;
    std::copy_n(std::as_bytes(code).begin(), arch::kPatchBytes,
                std::as_writable_bytes(std::span(change.patch.original)).begin());
    change.target = stub;
    return true;
  }

  const tracee::Memory& memory_;
  Addr code_at_;
  Addr stubs_at_;
  std::span<const Addr> stopped_;
};

}  // namespace

bool is_result_function(std::string_view name) {
  const auto all = result_functions();
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.name == name; });
}

std::optional<std::vector<std::size_t>> find_result_sites(std::span<const std::byte> function,
                                                          int number) {
  const auto walked = walk(function);
  if (!walked) return std::nullopt;
  std::vector<std::size_t> sites;
  for (const CallSite& call : walked->calls) {
    if (number >= 0 && call.number != number) continue;
    const bool entered =
        std::any_of(walked->targets.begin(), walked->targets.end(), [&](std::size_t target) {
          return target > call.behind && target < call.behind + arch::kPatchBytes;
        });
    if (entered || call.behind + arch::kPatchBytes > function.size()) return std::nullopt;
    sites.push_back(call.behind);
  }
  return sites;
}

std::optional<Addr> ResultStubs::behind(Addr site) const {
  for (const auto& one : patches)
    if (one.patch.address == site.value) return one.target;
  return std::nullopt;
}

ResultStubs make_result_stubs(const tracee::Memory& memory, const libc::Library& library,
                              Addr code_at, Addr stubs_at, std::span<const Addr> stopped) {
  Stubs stubs(memory, code_at, stubs_at, stopped);
  for (const auto& function : result_functions()) {
    const auto& all = library.resulting;
    const auto named = std::find_if(all.begin(), all.end(), [&](const libc::LibraryFunction& one) {
      return one.name == function.name;
    });
    std::optional<libc::LibraryFunction> target;
    if (named != all.end()) {
      target = *named;
    } else if (library.is_static) {
      continue;  // what a static program does not call is not part of it
    } else if (function.call == SYS_clone3) {
      target = find_clone3(memory, library);
    }
    if (!target) return {};
    if (target->size_bytes == 0) continue;  // older than clone3()
    if (!stubs.add(*target, function)) return {};
  }
  return std::move(stubs.result);
}

}  // namespace ckpt::ids
