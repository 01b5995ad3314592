// The frames of lock functions, as .eh_frame describes them.
#include <dlfcn.h>
#include <pthread.h>

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ids/frames.hpp"
#include "libc/elf_symbols.hpp"

namespace ckpt::ids {
namespace {

constexpr std::size_t kStackPointer = 7;
constexpr std::size_t kReturnAddress = 16;

// A section with one CIE (code factor 1, data factor -8, addresses relative to themselves, the
// return address below the frame's end) and one FDE for 64 bytes of code at `code`.
std::vector<std::byte> section_with(const std::string& instructions, std::uint64_t address,
                                    std::uint64_t code) {
  std::string bytes;
  const auto put = [&](auto value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  };
  using namespace std::string_literals;
  std::string cie = "\x01zR\0\x01\x78\x10\x01\x1b\x0c\x07\x08\x90\x01"s;
  cie.resize(20);
  put(static_cast<std::uint32_t>(cie.size() + 4));
  put(std::uint32_t{0});
  bytes += cie;
  const std::size_t fde_at = bytes.size();
  put(static_cast<std::uint32_t>(4 + 4 + 4 + 1 + instructions.size()));
  put(static_cast<std::uint32_t>(fde_at + 4));
  put(static_cast<std::uint32_t>(code - (address + bytes.size())));
  put(std::uint32_t{64});
  put(std::uint8_t{0});
  bytes += instructions;
  const auto span = std::as_bytes(std::span(bytes));
  return {span.begin(), span.end()};
}

constexpr std::uint64_t kAt = 0x10000;
constexpr std::uint64_t kCode = 0x8000;

std::optional<FrameRules> rules(const std::string& instructions, std::uint64_t offset) {
  return FrameTable(section_with(instructions, kAt, kCode), Addr{kAt}).find(Addr{kCode + offset});
}

TEST(FrameTable, FollowsAFunction) {
  using namespace std::string_literals;
  // push %rbx; sub $32,%rsp; ...; remembered, popped, and back again
  const std::string code =
      "\x41\x0e\x10\x83\x02\x44\x0e\x30\x4a\x0a\x0e\x10\x41\xc3\x0e\x08\x41\x0b"s;
  const auto first = rules(code, 0);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->base_register, kStackPointer);
  EXPECT_EQ(first->base_offset, 8);
  EXPECT_EQ(first->saved[kReturnAddress], -8);
  EXPECT_FALSE(first->saved[3].has_value());
  const auto pushed = rules(code, 1);
  ASSERT_TRUE(pushed.has_value());
  EXPECT_EQ(pushed->base_offset, 16);
  EXPECT_EQ(pushed->saved[3], -16);
  EXPECT_EQ(rules(code, 5)->base_offset, 48);
  EXPECT_EQ(rules(code, 15)->base_offset, 16);
  const auto popped = rules(code, 16);
  EXPECT_EQ(popped->base_offset, 8);
  EXPECT_FALSE(popped->saved[3].has_value());
  EXPECT_EQ(rules(code, 17)->base_offset, 48);
  EXPECT_EQ(rules(code, 17)->saved[3], -16);
}

TEST(FrameTable, SaysNothingOfWhatItDoesNotKnow) {
  using namespace std::string_literals;
  EXPECT_FALSE(rules("", 64).has_value());                      // other code
  EXPECT_FALSE(rules("\x0f\x03\x77\x08\x06"s, 0).has_value());  // an expression
  EXPECT_FALSE(rules("\x0b"s, 0).has_value());                  // restores what was not remembered
  EXPECT_FALSE(rules("\x0c\x11\x08"s, 0).has_value());          // no such register
  EXPECT_FALSE(rules("\x0e"s, 0).has_value());                  // cut off
}

TEST(FrameTable, SurvivesDamage) {
  using namespace std::string_literals;
  const auto whole = section_with("\x41\x0e\x10\x83\x02\x44\x0e\x30"s, kAt, kCode);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const std::vector<std::byte> part(whole.begin(),
                                      whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(FrameTable(part, Addr{kAt}).find(Addr{kCode + 10}).has_value()) << length;
  }
  for (std::size_t at = 0; at < whole.size(); ++at)
    for (const unsigned value : {0x00U, 0x7fU, 0x80U, 0xffU}) {
      auto damaged = whole;
      damaged[at] = static_cast<std::byte>(value);
      static_cast<void>(FrameTable(damaged, Addr{kAt}).find(Addr{kCode + 10}));
    }
}

TEST(FrameTable, KnowsTheLibrarysFunctions) {
  Dl_info info{};
  ASSERT_NE(::dladdr(reinterpret_cast<void*>(&::pthread_mutex_lock), &info), 0);
  const auto section = libc::read_section(info.dli_fname, ".eh_frame");
  ASSERT_TRUE(section.has_value());
  const std::uint64_t base = reinterpret_cast<std::uint64_t>(info.dli_fbase);
  const FrameTable table(section->bytes, Addr{base + section->address});
  const auto entry = table.find(Addr{reinterpret_cast<std::uint64_t>(info.dli_saddr)});
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->base_register, kStackPointer);
  EXPECT_EQ(entry->base_offset, 8);
  EXPECT_EQ(entry->saved[kReturnAddress], -8);
}

}  // namespace
}  // namespace ckpt::ids
