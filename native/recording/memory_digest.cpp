#include "recording/memory_digest.hpp"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/digest.hpp"
#include "proc/pagemap.hpp"
#include "proc/process_dir.hpp"

namespace ckpt::recording {

namespace {

bool is_zero(std::span<const std::byte> page) {
  static const std::array<std::byte, kPageSize> zeros{};
  return std::memcmp(page.data(), zeros.data(), page.size()) == 0;
}

// Of a page's content and its address.
std::uint64_t page_digest(std::span<const std::byte> page, Addr at) {
  const std::array<std::uint64_t, 2> both = {digest64(page), at.value};
  return digest64(std::as_bytes(std::span(both)));
}

void add_page(std::span<const std::byte> page, Addr at, std::vector<WindowDigest>& windows) {
  if (is_zero(page)) return;
  const Addr window{at.value - at.value % kWindowBytes};
  if (windows.empty() || windows.back().window != window) windows.push_back({window, 0});
  windows.back().digest += page_digest(page, at);
}

void digest_run(const tracee::Memory& memory, const proc::PageRun& run,
                std::vector<WindowDigest>& windows) {
  constexpr std::uint64_t kAtOnce = 1U << 20U;
  std::vector<std::byte> buffer;
  for (Addr at = run.start; at < run.end;) {
    buffer.resize(std::min(kAtOnce, run.end - at));
    const std::size_t size = page_down(memory.read_some(at, buffer));
    for (std::size_t offset = 0; offset < size; offset += kPageSize)
      add_page(std::span(buffer).subspan(offset, kPageSize), at + offset, windows);
    // Behind the end of a file there is nothing to read.
    at = at + (size == 0 ? kPageSize : size);
  }
}

}  // namespace

std::vector<WindowDigest> digest_memory(Tid pid, const tracee::Memory& memory) {
  const proc::ProcessDir process(pid);
  const UniqueFd pagemap_fd = process.open("pagemap", O_RDONLY);
  const proc::Pagemap pagemap(pagemap_fd.get());
  std::vector<WindowDigest> windows;
  for (const auto& mapping : process.mappings()) {
    if (!mapping.read || !mapping.write || mapping.is_kernel_special()) continue;
    // Where a file is mapped here a replay has a copy: its pages count whether written or not.
    if (mapping.has_object()) {
      digest_run(memory, {mapping.start, mapping.end}, windows);
      continue;
    }
    for (const auto& run : pagemap.private_runs(mapping.start, mapping.end))
      digest_run(memory, run, windows);
  }
  return windows;
}

std::uint64_t digest_stack(const tracee::Memory& memory, Addr stack_pointer) {
  std::array<std::byte, kStackDigestBytes> bytes{};
  const std::size_t size = memory.read_some(stack_pointer, bytes);
  return digest64(std::span(bytes).first(size));
}

std::optional<Addr> first_difference(const std::vector<WindowDigest>& a,
                                     const std::vector<WindowDigest>& b) {
  const auto [in_a, in_b] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  if (in_a == a.end() && in_b == b.end()) return std::nullopt;
  if (in_a == a.end()) return in_b->window;
  if (in_b == b.end()) return in_a->window;
  return std::min(in_a->window, in_b->window);
}

}  // namespace ckpt::recording
