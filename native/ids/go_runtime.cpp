#include "ids/go_runtime.hpp"

#include <utility>
#include <vector>

namespace ckpt::ids {

namespace {

// runtime/runtime2.go, Go 1.5 and newer: g begins with stack (2 words), two guards, the panic and
// the defer, then m; m begins with g0, a gobuf of 6 or 7 words, a word that only other processors
// use, then procid.
constexpr std::uint64_t kOwnerInG = 48;
constexpr std::uint64_t kFirstIdInM = 56;
constexpr std::uint64_t kLastIdInM = 72;
// The pointer to g is thread-local, the last variable before the FS base unless the program has
// others of C's (cmd/link: runtime.tlsg).
constexpr std::uint64_t kThreadLocalBytes = 256;

std::optional<std::uint64_t> word_at(const tracee::Memory& memory, std::uint64_t address) {
  std::uint64_t word = 0;
  const auto bytes = std::as_writable_bytes(std::span(&word, 1));
  if (address % sizeof word != 0 || memory.read_some(Addr{address}, bytes) != bytes.size())
    return std::nullopt;
  return word;
}

// The m of the thread that runs the g at `address`, if there is one.
std::optional<std::uint64_t> owner_of(const tracee::Memory& memory, std::uint64_t address) {
  if (address < kPageSize) return std::nullopt;
  const auto owner = word_at(memory, address + kOwnerInG);
  if (!owner || *owner < kPageSize) return std::nullopt;
  const auto first = word_at(memory, *owner);
  if (!first || *first < kPageSize) return std::nullopt;
  return word_at(memory, *first + kOwnerInG) == *owner ? owner : std::nullopt;
}

}  // namespace

std::optional<Addr> find_go_id(const tracee::Memory& memory, Addr thread_pointer, Tid id) {
  if (thread_pointer.value < kThreadLocalBytes || id <= 0) return std::nullopt;
  for (std::uint64_t back = sizeof(std::uint64_t); back <= kThreadLocalBytes;
       back += sizeof(std::uint64_t)) {
    const auto g = word_at(memory, (thread_pointer - back).value);
    const auto owner = g ? owner_of(memory, *g) : std::nullopt;
    if (!owner) continue;
    for (std::uint64_t at = kFirstIdInM; at <= kLastIdInM; at += sizeof(std::uint64_t))
      if (word_at(memory, *owner + at) == static_cast<std::uint64_t>(id)) return Addr{*owner + at};
  }
  return std::nullopt;
}

void renew_go_ids(const tracee::Memory& memory, std::span<const GoThread> threads) {
  // All are found before the first is changed: new ids may be among the old ones.
  std::vector<std::pair<Addr, Tid>> found;
  for (const auto& thread : threads)
    if (thread.before != thread.now)
      if (const auto place = find_go_id(memory, thread.thread_pointer, thread.before))
        found.emplace_back(*place, thread.now);
  for (const auto& [place, id] : found) memory.write_value(place, static_cast<std::uint64_t>(id));
}

}  // namespace ckpt::ids
