// How the kernel writes memory policies (NUMA) in /proc/PID/numa_maps.
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "state/memory/memory_policy.hpp"

namespace ckpt::state {
namespace {

TEST(MemoryPolicy, IsReadAsTheKernelWritesIt) {
  struct Row {
    std::string_view text;
    MemoryPolicy expected;
  };
  const Row rows[] = {
      {"default heap anon=1 dirty=1 N0=1 kernelpagesize_kB=4", {0, {}}},
      {"local anon=3", {4, {}}},
      {"bind:0 anon=1", {2, {0}}},
      {"bind:0-2,5", {2, {0, 1, 2, 5}}},
      {"prefer:1 file=/tmp/bind:3", {1, {1}}},
      {"prefer (many):0,3 anon=2", {5, {0, 3}}},
      {"interleave:0-1 huge", {3, {0, 1}}},
      {"weighted interleave:0-1", {6, {0, 1}}},
      {"bind=static:3 stack", {2 | (1 << 15), {3}}},
      {"interleave=relative:0-1", {3 | (1 << 14), {0, 1}}},
      {"bind=static|balancing:0", {2 | (1 << 15) | (1 << 13), {0}}},
      {"something new:0-1", {0, {}}},
      {"bind:0-99999999", {2, {}}},
      {"", {0, {}}},
  };
  for (const Row& row : rows) EXPECT_EQ(parse_memory_policy(row.text), row.expected) << row.text;
}

TEST(MemoryPolicy, OfARecordIsChecked) {
  const MemoryPolicy policy{2, {0, 7}};
  EXPECT_EQ(image::decode<MemoryPolicy>(image::encode(policy)), policy);
  EXPECT_ANY_THROW(image::decode<MemoryPolicy>({{"mode", 2}, {"nodes", {-1}}}));
  EXPECT_ANY_THROW(image::decode<MemoryPolicy>({{"mode", 2}, {"nodes", {1024}}}));
  EXPECT_ANY_THROW(image::decode<MemoryPolicy>({{"mode", 1 << 20}, {"nodes", {0}}}));
}

}  // namespace
}  // namespace ckpt::state
