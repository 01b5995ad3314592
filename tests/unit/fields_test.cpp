#include "image/fields.hpp"

#include <ctime>

#include <gtest/gtest.h>

#include "support.hpp"

namespace ckpt::image {

namespace {

enum class Colour { red, green };

constexpr std::array<std::pair<Colour, std::string_view>, 2> kColours = {
    {{Colour::red, "red"}, {Colour::green, "green"}}};

struct Pair {
  std::uint8_t small = 0;
  std::string text;
};

struct Inner {
  int number = 7;
};

struct Outer {
  std::int32_t always = 0;
  int later = 5;
  std::optional<Inner> inner;
  std::vector<Inner> list;
  Colour colour = Colour::red;
  Pair pair;
  timespec time{};
  Inner flat;
};

const Fields<Inner>& fields_of(const Inner* /*type*/) {
  static const Fields<Inner> fields = {"inner", {{"number", &Inner::number, "a number"}}};
  return fields;
}

const Fields<Outer>& fields_of(const Outer* /*type*/) {
  using enum Presence;
  static const Fields<Outer> fields = {
      "outer",
      {{"always", &Outer::always, ""},
       {"later", &Outer::later, "", later},
       {"inner", &Outer::inner, "", unusual},
       {"list", &Outer::list, ""},
       Field<Outer>::as<Named<kColours>>("colour", &Outer::colour, "", unusual),
       Field<Outer>::as<Row<Pair, &Pair::small, &Pair::text>>("pair", &Outer::pair, ""),
       Field<Outer>::as<Time<timespec, 100>>("time", &Outer::time, ""),
       Field<Outer>::all_of(&Outer::flat)},
      [](Outer& outer) {
        if (outer.always < 0) damaged("a test");
      }};
  return fields;
}

const Json kWritten = {
    {"always", 1},      {"later", 5},     {"list", {{{"number", 1}}, {{"number", 2}}}},
    {"pair", {3, "x"}}, {"time", {4, 5}}, {"number", 7}};

TEST(Fields, WriteWhatIsUsualByLeavingItOut) {
  Outer outer;
  outer.always = 1;
  outer.list = {{1}, {2}};
  outer.pair = {3, "x"};
  outer.time = {4, 5};
  EXPECT_EQ(encode(outer), kWritten);
  outer.colour = Colour::green;
  outer.inner = Inner{9};
  EXPECT_EQ(encode(outer).at("colour"), "green");
  EXPECT_EQ(encode(outer).at("inner"), Json({{"number", 9}}));
  const auto again = decode<Outer>(encode(outer));
  EXPECT_EQ(again.colour, Colour::green);
  EXPECT_EQ(again.inner.value().number, 9);
  EXPECT_EQ(encode(again), encode(outer));
}

TEST(Fields, ReadOlderMapsAndThoseThatKnowMore) {
  Json older = kWritten;
  older.erase("later");
  older["unknown"] = "to this reader";
  EXPECT_EQ(decode<Outer>(older).later, 5);
  older["later"] = nullptr;
  EXPECT_EQ(decode<Outer>(older).later, 5);
}

struct Damage {
  const char* key;
  Json value;
  const char* what;
};

TEST(Fields, SayWhichKeyIsDamaged) {
  const std::vector<Damage> all = {
      {"always", "1", "\"always\" is no int"},
      {"always", true, "\"always\" is no int"},
      {"always", 1.0, "\"always\" is no int"},
      {"always", nullptr, "\"always\" is no int"},
      {"always", 1LL << 31U, "\"always\" is no number that fits"},
      {"always", -1, "a test cannot be right"},
      {"inner", 3, "\"inner\" is no map"},
      {"inner", Json::object(), "\"number\" is missing"},
      {"list", Json::object(), "\"list\" is no list"},
      {"list", {{{"number", "x"}}}, "\"number\" is no int"},
      {"colour", "blue", "\"colour\" is no name that is known"},
      {"pair", {3}, "\"pair\" is no list of 2"},
      {"pair", {256, "x"}, "\"pair\" is no number that fits"},
      {"pair", {-1, "x"}, "\"pair\" is no number that fits"},
      {"time", {101, 0}, "\"time\" is no time"},
      {"time", {0, 1'000'000'000}, "\"time\" is no time"},
      {"time", {-1, 0}, "\"time\" is no time"},
  };
  for (const Damage& damage : all) {
    Json map = kWritten;
    map[damage.key] = damage.value;
    test::expect_error([&] { decode<Outer>(map); }, ErrorKind::damaged, damage.what);
  }
  for (const char* key : {"always", "list", "pair", "time", "number"}) {
    Json map = kWritten;
    map.erase(key);
    test::expect_error([&] { decode<Outer>(map); }, ErrorKind::damaged,
                       fmt::format("\"{}\" is missing", key));
  }
  test::expect_error([] { decode<Outer>(Json::array()); }, ErrorKind::damaged, "no map");
}

TEST(Fields, AreDescribed) {
  Catalog catalog;
  EXPECT_EQ(Codec<Outer>::type(catalog), Json({{"map", "outer"}}));
  const Json& fields = catalog.maps().at("outer");
  EXPECT_EQ(fields.size(), 8U);
  EXPECT_EQ(fields.at(0),
            Json({{"key", "always"}, {"type", "int"}, {"text", ""}, {"presence", "always"}}));
  EXPECT_EQ(fields.at(2).at("type"), Json({{"null", {{"map", "inner"}}}}));
  EXPECT_EQ(fields.at(4).at("type"), Json({{"names", {"red", "green"}}}));
  EXPECT_EQ(fields.at(5).at("type"), Json({{"pair", {"int", "text"}}}));
  EXPECT_EQ(catalog.maps().at("inner").at(0).at("text"), "a number");
}

}  // namespace

}  // namespace ckpt::image
