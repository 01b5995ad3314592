// GDB's remote protocol: packets, the numbers in them, and how registers are described.
#include <csignal>
#include <string>

#include <gtest/gtest.h>

#include "arch/target_description.hpp"
#include "debugserver/packets.hpp"
#include "debugserver/server.hpp"
#include "debugserver/signals.hpp"

namespace ckpt::debugserver {
namespace {

using Kind = PacketReader::Kind;

TEST(Packets, AreFramed) {
  EXPECT_EQ(framed(""), "$#00");
  EXPECT_EQ(framed("OK"), "$OK#9a");
  EXPECT_EQ(framed("a}#$*"), std::string("$a}]}\x03}\x04}\x0a#c3"));
}

TEST(Packets, AreReadBack) {
  for (const std::string content : {"", "vCont;c", "a}#$*", "m0,ff"}) {
    PacketReader reader;
    reader.add(framed(content));
    std::string read;
    ASSERT_EQ(reader.take(read), Kind::packet) << content;
    EXPECT_EQ(read, content);
    EXPECT_EQ(reader.take(read), Kind::none);
  }
}

TEST(Packets, ComeInPieces) {
  PacketReader reader;
  std::string read;
  for (const char byte : std::string("$OK#9")) {
    reader.add({&byte, 1});
    EXPECT_EQ(reader.take(read), Kind::none);
  }
  reader.add("a");
  EXPECT_EQ(reader.take(read), Kind::packet);
}

TEST(Packets, WhatElseComes) {
  PacketReader reader;
  reader.add("x+-\x03$OK#00$OK#zz$OK#9a");
  std::string read;
  for (const Kind kind : {Kind::acknowledged, Kind::repeat, Kind::interrupt, Kind::damaged,
                          Kind::damaged, Kind::packet, Kind::none})
    EXPECT_EQ(reader.take(read), kind);
}

TEST(Packets, BytesInHex) {
  EXPECT_EQ(to_hex(std::string_view("\x01\xfez")), "01fe7a");
  ASSERT_TRUE(from_hex("01fe7a"));
  EXPECT_EQ(to_hex(*from_hex("01fe7a")), "01fe7a");
  for (const char* const wrong : {"0", "0g", "-1", "+1", " 1"}) EXPECT_FALSE(from_hex(wrong));
}

TEST(Packets, Words) {
  Words words("m1f,10:");
  EXPECT_FALSE(words.take("g"));
  EXPECT_TRUE(words.take("m"));
  EXPECT_EQ(words.number(), 0x1fU);
  EXPECT_FALSE(words.number());
  EXPECT_TRUE(words.take(","));
  EXPECT_EQ(words.number(), 0x10U);
  EXPECT_EQ(words.rest(), ":");
  EXPECT_FALSE(Words("fffffffffffffffff").number());
}

TEST(Packets, PartsOfObjects) {
  EXPECT_EQ(part_of("abcdef", "0,3"), "mabc");
  EXPECT_EQ(part_of("abcdef", "3,3"), "ldef");
  EXPECT_EQ(part_of("abcdef", "6,3"), "l");
  EXPECT_EQ(part_of("abcdef", "ffffffffffffffff,1"), "l");
  for (const char* const wrong : {"", "0", "0,", ",1"}) EXPECT_EQ(part_of("abc", wrong), "E01");
}

TEST(Signals, HaveNumbersOfTheirOwn) {
  EXPECT_EQ(protocol_signal(SIGSEGV), 11);
  EXPECT_EQ(protocol_signal(SIGUSR1), 30);
  EXPECT_EQ(protocol_signal(SIGCHLD), 20);
  EXPECT_EQ(protocol_signal(34), 46);
  for (int signal = 1; signal <= 64; ++signal)
    EXPECT_EQ(signal_of_protocol(protocol_signal(signal)), signal);
  EXPECT_EQ(signal_of_protocol(9999), 0);
}

TEST(Positions, AreWordsOrNumbers) {
  EXPECT_TRUE(parse_position("end")->at_end);
  EXPECT_EQ(parse_position("begin")->events, 0U);
  EXPECT_EQ(parse_position("12")->events, 12U);
  for (const char* const wrong : {"", "-1", "1x", "middle"}) EXPECT_FALSE(parse_position(wrong));
}

TEST(Registers, AreWhereTheDescriptionSays) {
  arch::Registers registers{};
  registers.set_pc(Addr{0x1122334455667788});
  const auto bytes = arch::described_registers(registers, {});
  const auto place = arch::described_register(16);
  ASSERT_EQ(place.size_bytes, 8U);
  EXPECT_EQ(to_hex(std::span(bytes).subspan(place.offset, place.size_bytes)), "8877665544332211");
  EXPECT_EQ(arch::described_register(100000).size_bytes, 0U);
  EXPECT_NE(arch::target_description().find("fs_base"), std::string::npos);
}

}  // namespace
}  // namespace ckpt::debugserver
