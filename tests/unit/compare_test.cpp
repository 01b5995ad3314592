// Differences and occurrences in memory content, against the simplest way to find them.
#include "image/compare.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace ckpt::image {
namespace {

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

using Runs = std::vector<ByteRun>;

TEST(Compare, FindsEveryRun) {
  const std::string left(10'000, 'a');
  std::string right = left;
  EXPECT_TRUE(differing_runs(bytes(left), bytes(right), 1, 100).empty());
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{1}, std::size_t{4095}, std::size_t{4096}, std::size_t{9'999}})
    right[at] = 'b';
  EXPECT_EQ(differing_runs(bytes(left), bytes(right), 1, 100),
            (Runs{{0, 2}, {4095, 2}, {9'999, 1}}));
}

TEST(Compare, JoinsRunsThatAreClose) {
  const std::string left(100, 'a');
  std::string right = left;
  for (const std::size_t at : {std::size_t{10}, std::size_t{14}, std::size_t{30}}) right[at] = 'b';
  EXPECT_EQ(differing_runs(bytes(left), bytes(right), 4, 100), (Runs{{10, 5}, {30, 1}}));
  EXPECT_EQ(differing_runs(bytes(left), bytes(right), 3, 100), (Runs{{10, 1}, {14, 1}, {30, 1}}));
}

TEST(Compare, NothingStandsForZeros) {
  std::string left(9'000, '\0');
  EXPECT_TRUE(differing_runs(bytes(left), {}, 8, 100).empty());
  left[8'999] = 'x';
  EXPECT_EQ(differing_runs(bytes(left), {}, 8, 100), (Runs{{8'999, 1}}));
}

TEST(Compare, HasALimit) {
  const std::string left(100, 'a');
  std::string right = left;
  for (std::size_t at = 0; at < 100; at += 10) right[at] = 'b';
  EXPECT_EQ(differing_runs(bytes(left), bytes(right), 1, 2), (Runs{{0, 1}, {10, 1}}));
  EXPECT_EQ(differing_runs(bytes(left), bytes(right), 1, 10).size(), 10U);
}

TEST(Compare, RefusesOtherLengths) {
  EXPECT_THROW(differing_runs(bytes("ab"), bytes("a"), 1, 1), Error);
}

TEST(Compare, AgreesWithTheSimplestWay) {
  std::mt19937 random(17);
  for (int round = 0; round < 200; ++round) {
    std::string left(random() % 9'000 + 1, 'a');
    std::string right = left;
    for (unsigned i = random() % 20; i > 0; --i) right[random() % right.size()] = 'b';
    std::vector<bool> expected(left.size());
    for (std::size_t i = 0; i < left.size(); ++i) expected[i] = left[i] != right[i];
    std::vector<bool> found(left.size());
    for (const auto& [at, length] : differing_runs(bytes(left), bytes(right), 1, 1'000))
      std::fill_n(found.begin() + static_cast<std::ptrdiff_t>(at), length, true);
    ASSERT_EQ(found, expected);
  }
}

TEST(Find, FindsFromAPlaceOn) {
  const std::string text = "abcabc";
  EXPECT_EQ(find_bytes(bytes(text), bytes("abc"), 0), 0U);
  EXPECT_EQ(find_bytes(bytes(text), bytes("abc"), 1), 3U);
  EXPECT_EQ(find_bytes(bytes(text), bytes("abc"), 4), std::nullopt);
  EXPECT_EQ(find_bytes(bytes(text), bytes("c"), 5), 5U);
  EXPECT_EQ(find_bytes(bytes(text), bytes("c"), 6), std::nullopt);
  EXPECT_EQ(find_bytes(bytes(text), bytes("c"), 7), std::nullopt);
  EXPECT_EQ(find_bytes(bytes(text), {}, 0), std::nullopt);
}

}  // namespace
}  // namespace ckpt::image
