// How values stand in a record, type by type. A codec writes a value, reads it from what anybody
// may have made, and says what it is in documents. fields.hpp has that of structs.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/types.hpp"
#include "image/format.hpp"

namespace ckpt::image {

/// Collects what is known of maps while types are described. A type is "int", "bool", "float",
/// "text" or "bytes", or a map with one member: "list", "null" (or that type), "pair" (types),
/// "names" (texts), or "map" (the name of one that the catalog has).
class Catalog {
 public:
  /// The type of the map `name`; `describe` adds its fields to a list, the first time.
  Json add(std::string_view name, const std::function<void(Json&)>& describe);
  [[nodiscard]] const Json& maps() const { return maps_; }

 private:
  Json maps_ = Json::object();
};

/// Of a value whose type is wrong, before it is known what leads to it.
class Mistyped : public Error {
 public:
  explicit Mistyped(std::string_view expected);
  [[nodiscard]] const std::string& expected() const { return expected_; }

 private:
  std::string expected_;
};

/// Throws Mistyped.
[[noreturn]] void mistyped(std::string_view expected);
/// Throws Error (damaged).
[[noreturn]] void missing(std::string_view key);
/// Throws Error (damaged) when `json` is no list, or has another number of elements (if it is
/// given).
void expect_list(const Json& json, std::optional<std::size_t> elements = std::nullopt);

/// Calls `read`. If that throws Mistyped, the error says what `key` it is of.
template <typename Read>
auto with_name(std::string_view key, Read read);

/// What a member holds that nothing was read into.
template <typename T>
const T& initial_value() {
  static const T value{};
  return value;
}

template <typename T>
struct Codec;

/// Anything.
template <>
struct Codec<Json> {
  static Json write(const Json& value) { return value; }
  static Json read(const Json& json) { return json; }
  static Json type(Catalog& /*catalog*/) { return "any"; }
};

template <>
struct Codec<bool> {
  static Json write(bool value) { return value; }
  static bool read(const Json& json);
  static Json type(Catalog& /*catalog*/) { return "bool"; }
};

template <>
struct Codec<double> {
  static Json write(double value) { return value; }
  static double read(const Json& json);
  static Json type(Catalog& /*catalog*/) { return "float"; }
};

// Defined here: clang 14 does not find what is defined outside of a constrained class.
template <std::integral T>
struct Codec<T> {
  static Json write(T value) { return value; }
  static T read(const Json& json) {
    if (!json.is_number_integer()) mistyped("int");
    const bool fits = json.is_number_unsigned() ? std::in_range<T>(json.get<std::uint64_t>())
                                                : std::in_range<T>(json.get<std::int64_t>());
    if (!fits) mistyped("number that fits");
    return json.get<T>();
  }
  static Json type(Catalog& /*catalog*/) { return "int"; }
};

template <>
struct Codec<std::string> {
  static Json write(const std::string& value) { return value; }
  static std::string read(const Json& json);
  static Json type(Catalog& /*catalog*/) { return "text"; }
};

template <>
struct Codec<Addr> {
  static Json write(Addr value) { return value.value; }
  static Addr read(const Json& json) { return Addr{Codec<std::uint64_t>::read(json)}; }
  static Json type(Catalog& /*catalog*/) { return "int"; }
};

template <>
struct Codec<std::vector<std::byte>> {
  static Json write(const std::vector<std::byte>& value) {
    return pack_bytes(value.data(), value.size());
  }
  static std::vector<std::byte> read(const Json& json) { return unpack_bytes(json); }
  static Json type(Catalog& /*catalog*/) { return "bytes"; }
};

/// Bytes that are kept as a string.
struct Bytes {
  static Json write(const std::string& value) { return pack_bytes(value.data(), value.size()); }
  static std::string read(const Json& json) { return unpack_string(json); }
  static Json type(Catalog& /*catalog*/) { return "bytes"; }
};

/// The bytes of a plain struct.
template <typename T>
struct Struct {
  static Json write(const T& value) { return pack_bytes(&value, sizeof value); }
  static T read(const Json& json) { return unpack_struct<T>(json, "the size of a field"); }
  static Json type(Catalog& /*catalog*/) { return "bytes"; }
};

/// Each of `values` in this form.
template <typename Form, typename Values>
Json list_of(const Values& values) {
  Json list = Json::array();
  for (const auto& value : values) list.push_back(Form::write(value));
  return list;
}

template <typename T, typename Form = Codec<T>>
struct List {
  static Json write(const std::vector<T>& values) { return list_of<Form>(values); }
  static std::vector<T> read(const Json& json) {
    expect_list(json);
    std::vector<T> values;
    values.reserve(json.size());
    for (const Json& each : json) values.push_back(Form::read(each));
    return values;
  }
  static Json type(Catalog& catalog) { return {{"list", Form::type(catalog)}}; }
};

template <typename T>
struct Codec<std::vector<T>> : List<T> {};

template <typename T, std::size_t N, typename Form = Codec<T>>
struct Array {
  static Json write(const std::array<T, N>& values) { return list_of<Form>(values); }
  static std::array<T, N> read(const Json& json) {
    expect_list(json, N);
    std::array<T, N> values{};
    for (std::size_t i = 0; i < N; ++i) values.at(i) = Form::read(json.at(i));
    return values;
  }
  static Json type(Catalog& catalog) { return {{"list", Form::type(catalog)}}; }
};

template <typename T, std::size_t N>
struct Codec<std::array<T, N>> : Array<T, N> {};

template <typename T, typename Form = Codec<T>>
struct Optional {
  static Json write(const std::optional<T>& value) { return value ? Form::write(*value) : Json(); }
  static std::optional<T> read(const Json& json) {
    if (json.is_null()) return std::nullopt;
    return Form::read(json);
  }
  static Json type(Catalog& catalog) { return {{"null", Form::type(catalog)}}; }
};

template <typename T>
struct Codec<std::optional<T>> : Optional<T> {};

/// Members of a struct in the order of a list: `Members` has pointers to them.
template <typename T, auto... Members>
struct Row {
  template <auto Member>
  using Of = Codec<std::remove_cvref_t<std::invoke_result_t<decltype(Member), T&>>>;

  static Json write(const T& value) { return Json::array({Of<Members>::write(value.*Members)...}); }
  static T read(const Json& json) {
    expect_list(json, sizeof...(Members));
    T value{};
    std::size_t next = 0;
    ((value.*Members = Of<Members>::read(json.at(next++))), ...);
    return value;
  }
  static Json type(Catalog& catalog) {
    return {{"pair", Json::array({Of<Members>::type(catalog)...})}};
  }
};

template <typename A, typename B>
struct Codec<std::pair<A, B>>
    : Row<std::pair<A, B>, &std::pair<A, B>::first, &std::pair<A, B>::second> {};

/// A time that is not negative (timespec, timeval): seconds, and what its other member counts.
template <typename T, std::int64_t MostSeconds = std::numeric_limits<std::int64_t>::max()>
struct Time {
  static constexpr bool kNanoseconds = requires(T time) { time.tv_nsec; };

  static Json write(const T& time) {
    if constexpr (kNanoseconds)
      return Json::array({time.tv_sec, time.tv_nsec});
    else
      return Json::array({time.tv_sec, time.tv_usec});
  }
  static T read(const Json& json) {
    expect_list(json, 2);
    const auto seconds = Codec<std::int64_t>::read(json.at(0));
    const auto parts = Codec<std::int64_t>::read(json.at(1));
    constexpr std::int64_t kParts = kNanoseconds ? kNanosecondsPerSecond : 1'000'000;
    if (seconds < 0 || seconds > MostSeconds || parts < 0 || parts >= kParts) mistyped("time");
    return {seconds, parts};
  }
  static Json type(Catalog& /*catalog*/) { return {{"pair", Json::array({"int", "int"})}}; }
};

/// An enumeration by the names of its values: `Names` is an array of pairs of value and name.
template <const auto& Names>
struct Named {
  using T = std::remove_cvref_t<decltype(Names[0].first)>;

  static std::string_view name_of(T value) noexcept {
    for (const auto& [known, name] : Names)
      if (known == value) return name;
    return "";
  }
  static std::optional<T> find(std::string_view text) noexcept {
    for (const auto& [known, name] : Names)
      if (name == text) return known;
    return std::nullopt;
  }
  static Json write(T value) { return name_of(value); }
  static T read(const Json& json) {
    const auto found = find(Codec<std::string>::read(json));
    if (!found) mistyped("name that is known");
    return *found;
  }
  static Json type(Catalog& /*catalog*/) {
    Json names = Json::array();
    for (const auto& [known, name] : Names) names.push_back(name);
    return {{"names", std::move(names)}};
  }
};

/// An enumeration by the numbers of its values, of which `Last` is the highest.
template <auto Last>
struct Numbered {
  using T = decltype(Last);

  static Json write(T value) { return static_cast<int>(value); }
  static T read(const Json& json) {
    const int number = Codec<int>::read(json);
    if (number < 0 || number > static_cast<int>(Last)) mistyped("number that is known");
    return static_cast<T>(number);
  }
  static Json type(Catalog& /*catalog*/) { return "int"; }
};

[[noreturn]] void mistyped_at(std::string_view key, const Mistyped& what);

template <typename Read>
auto with_name(std::string_view key, Read read) {
  try {
    return read();
  } catch (const Mistyped& what) {
    mistyped_at(key, what);
  }
}

}  // namespace ckpt::image
