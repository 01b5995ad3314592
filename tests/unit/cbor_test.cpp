// The look over a record before it is parsed: only what our writer emits may pass.
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "image/cbor.hpp"
#include "image/format.hpp"
#include "support.hpp"

namespace ckpt::image {
namespace {

using namespace std::string_literals;
using test::bytes_of;

constexpr std::size_t kDeepest = 8;

Json nested(std::size_t levels) {
  Json value = 1;
  for (std::size_t i = 0; i < levels; ++i)
    value = i % 2 ? Json{{"k", value}} : Json::array({value});
  return value;
}

TEST(Cbor, WhatTheWriterEmitsPasses) {
  for (const Json& value : {Json(),
                            Json(true),
                            Json(0),
                            Json(-1),
                            Json(23),
                            Json(24),
                            Json(255),
                            Json(256),
                            Json(65536),
                            Json(UINT64_MAX),
                            Json(INT64_MIN),
                            Json(1.5),
                            Json(1e300),
                            Json(""),
                            Json("text"),
                            Json(std::string(300, 'x')),
                            Json(std::string(70'000, 'x')),
                            Json::array(),
                            Json::object(),
                            Json::array({1, "a", nullptr, Json::array()}),
                            Json{{"a", 1}, {"b", Json{{"c", 2}}}},
                            Json::binary({}),
                            Json::binary({1, 2, 3}),
                            Json(std::vector<int>(1000, 7)),
                            nested(kDeepest)}) {
    const auto cbor = Json::to_cbor(value);
    const auto bytes = std::as_bytes(std::span(cbor));
    EXPECT_TRUE(is_plain_cbor(bytes, {kDeepest})) << value.dump().substr(0, 80);
    // Neither less nor more.
    for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 200)
      EXPECT_FALSE(is_plain_cbor(bytes.first(size), {kDeepest})) << value.dump().substr(0, 80);
    auto longer = cbor;
    longer.push_back(0);
    EXPECT_FALSE(is_plain_cbor(std::as_bytes(std::span(longer)), {kDeepest}));
  }
}

TEST(Cbor, NestingHasALimit) {
  const auto cbor = Json::to_cbor(nested(kDeepest + 1));
  EXPECT_FALSE(is_plain_cbor(std::as_bytes(std::span(cbor)), {kDeepest}));
}

TEST(Cbor, AllElseIsRefused) {
  for (const std::string& text : {
           ""s,
           "\x1c"s,
           "\x1d"s,
           "\x1e"s,  // reserved
           "\x1f"s,
           "\x5f\x41\x61\xff"s,  // strings, arrays and maps of indefinite length
           "\x7f\x61\x61\xff"s,
           "\x9f\x01\xff"s,
           "\xbf\x61\x61\x01\xff"s,
           "\xff"s,          // a break out of nothing
           "\xc0\x61\x61"s,  // tags
           "\xd8\x18\x01"s,
           "\x18"s,
           "\x19\x01"s,
           "\x1a\x01\x02\x03"s,
           "\x1b\0\0\0\0\0\0\0"s,  // cut off
           "\x42\x61"s,
           "\x62\x61"s,
           "\x82\x01"s,
           "\xa1\x61\x61"s,
           "\x5b\xff\xff\xff\xff\xff\xff\xff\xff"s,  // lengths of which the sum overflows
           "\x9b\xff\xff\xff\xff\xff\xff\xff\xff"s,
           "\xbb\x80\0\0\0\0\0\0\0"s,
       }) {
    EXPECT_FALSE(is_plain_cbor(bytes_of(text), {kDeepest})) << testing::PrintToString(text);
  }
}

}  // namespace
}  // namespace ckpt::image
