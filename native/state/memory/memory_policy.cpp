#include "state/memory/memory_policy.hpp"

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/io.hpp"
#include "proc/text.hpp"

namespace ckpt::state {

namespace {

constexpr int kMostNodes = 1024;  // CONFIG_NODES_SHIFT is 10 at most
using NodeMask = std::array<std::uint64_t, kMostNodes / 64>;
// The kernel takes the last of them for one more than there are.
constexpr std::uint64_t kMaskBits = kMostNodes + 1;

// <linux/mempolicy.h>; mpol_to_str() in mm/mempolicy.c. Longer names before those they begin with.
constexpr auto kModes = std::to_array<std::pair<std::string_view, int>>({
    {"weighted interleave", 6},
    {"prefer (many)", 5},
    {"interleave", 3},
    {"prefer", 1},
    {"bind", 2},
    {"local", 4},
});
constexpr auto kModeFlags = std::to_array<std::pair<std::string_view, int>>({
    {"static", 1 << 15},
    {"relative", 1 << 14},
    {"balancing", 1 << 13},
});
constexpr int kAllModes = 0xe007;

// "0-1,3"
std::vector<int> parse_nodes(std::string_view text) {
  std::vector<int> nodes;
  while (!text.empty()) {
    std::string_view range = proc::cut(text, ',');
    const auto first = proc::parse_number<int>(proc::cut(range, '-'));
    const auto last = range.empty() ? first : proc::parse_number<int>(range);
    if (!first || !last || *last >= kMostNodes) break;
    for (int node = *first; node <= *last; ++node) nodes.push_back(node);
  }
  return nodes;
}

NodeMask mask_of(const MemoryPolicy& policy) {
  NodeMask mask{};
  for (const int node : policy.nodes)
    mask.at(static_cast<std::size_t>(node) / 64) |= 1ULL << (static_cast<unsigned>(node) % 64);
  return mask;
}

bool has_several_nodes() {
  const auto online = try_read_file("/sys/devices/system/node/online");
  return online && online->find_first_of("-,") != std::string::npos;
}

}  // namespace

MemoryPolicy parse_memory_policy(std::string_view text) {
  MemoryPolicy policy;
  const auto* const mode = std::find_if(
      kModes.begin(), kModes.end(), [&](const auto& one) { return text.starts_with(one.first); });
  if (mode == kModes.end()) return policy;
  policy.mode = mode->second;
  text.remove_prefix(mode->first.size());
  text = proc::next_word(text);
  std::string_view flags = proc::cut(text, ':');
  if (flags.starts_with('='))
    for (const auto& [name, flag] : kModeFlags)
      if (flags.find(name) != flags.npos) policy.mode |= flag;
  policy.nodes = parse_nodes(text);
  return policy;
}

std::map<Addr, MemoryPolicy> look_at_memory_policies(const proc::ProcessDir& process,
                                                     const MemoryPolicy& main) {
  std::map<Addr, MemoryPolicy> policies;
  if (main.mode == 0 && !has_several_nodes()) return policies;
  const auto text = try_read_file(process.path("numa_maps"));
  std::string_view rest = text ? std::string_view(*text) : "";
  bool any = false;
  while (!rest.empty()) {
    std::string_view line = proc::cut(rest, '\n');
    const auto start = proc::parse_number<std::uint64_t>(proc::cut(line, ' '), 16);
    MemoryPolicy policy = parse_memory_policy(line);
    if (policy == main) policy = {};
    any = any || policy.mode != 0;
    if (start) policies.emplace(Addr{*start}, std::move(policy));
  }
  if (!any) policies.clear();
  return policies;
}

MemoryPolicy ask_memory_policy(tracee::Inferior& inferior) {
  const auto mask = inferior.reserve<NodeMask>();
  const auto mode = inferior.reserve<int>();
  MemoryPolicy policy;
  if (inferior.attempt(SYS_get_mempolicy, {mode, mask, kMostNodes, 0, 0}) != 0) return policy;
  policy.mode = mode.read();
  const NodeMask nodes = mask.read();
  for (int node = 0; policy.mode != 0 && node < kMostNodes; ++node)
    if (((nodes.at(static_cast<std::size_t>(node) / 64) >> (static_cast<unsigned>(node) % 64)) &
         1U) != 0)
      policy.nodes.push_back(node);
  return policy;
}

int set_memory_policy(tracee::Inferior& inferior, const MemoryPolicy& policy) {
  return tracee::error_of(inferior.attempt(
      SYS_set_mempolicy, {policy.mode, inferior.put_value(mask_of(policy)), kMaskBits}));
}

int set_memory_policy(tracee::Inferior& inferior, const MemoryPolicy& policy, Addr start,
                      std::uint64_t bytes) {
  return tracee::error_of(inferior.attempt(
      SYS_mbind, {start, bytes, policy.mode, inferior.put_value(mask_of(policy)), kMaskBits, 0}));
}

const image::Fields<MemoryPolicy>& fields_of(const MemoryPolicy* /*type*/) {
  static const image::Fields<MemoryPolicy> fields = {
      "memory_policy",
      {{"mode", &MemoryPolicy::mode, "MPOL_*, with flags"}, {"nodes", &MemoryPolicy::nodes, ""}},
      [](MemoryPolicy& policy) {
        const bool is_wrong = std::any_of(policy.nodes.begin(), policy.nodes.end(),
                                          [](int node) { return node < 0 || node >= kMostNodes; });
        if ((policy.mode & ~kAllModes) != 0 || is_wrong) image::damaged("a memory policy");
      }};
  return fields;
}

}  // namespace ckpt::state
