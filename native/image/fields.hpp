// What stands in the maps of a record, said once: each struct that is kept has a list of its
// fields, from which it is written and read, and from which the tables of docs/format.md and the
// types in gdbext/record_types.py are made (scripts/record_schema.py).
//
// In the header of a struct:   const image::Fields<Child>& fields_of(const Child* /*type*/);
// where it is implemented:     const image::Fields<Child>& fields_of(const Child* /*type*/) {
//                                static const image::Fields<Child> fields = {
//                                    "child", {{"pid", &Child::pid, "its process id"}}, check};
//                                return fields;
//                              }
#pragma once

#include <array>
#include <concepts>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/types.hpp"
#include "image/codecs.hpp"
#include "image/format.hpp"

namespace ckpt::image {

enum class Presence {
  always,
  later,    // missing in older files, which have the member's initial value
  unusual,  // written only if it is not the member's initial value
  apart     // always there, but what reads it takes it out of the record
};

/// Whether it need not be written, because a reader has it without.
template <typename T>
bool is_usual(const T& value, const T& initial) {
  if constexpr (requires { value.has_value(); })
    return !value.has_value();
  else if constexpr (requires { value.empty(); })
    return value.empty();
  else if constexpr (std::equality_comparable<T>)
    return value == initial;
  else
    return false;
}

/// Leads to a member of a member.
template <typename Outer, typename Inner>
auto inside(Outer outer, Inner inner) {
  return [=](auto& object) -> auto& { return std::invoke(inner, std::invoke(outer, object)); };
}

/// Leads to what a struct is derived from.
template <typename T>
struct Base {
  T& operator()(T& object) const { return object; }
  const T& operator()(const T& object) const { return object; }
};

/// One member of a struct T, or of a member of it.
template <typename T>
class Field {
 public:
  /// `get` leads from a T to the value: a pointer to a member, or what inside() or Base
  /// make. `text` is Markdown.
  template <typename Get>
  Field(std::string_view key, Get get, std::string_view text, Presence presence = Presence::always)
      : Field(As<Codec<ValueOf<Get>>>{}, key, get, {text, presence}) {}

  /// The same, kept in another form than is usual for its type.
  template <typename Form, typename Get>
  static Field as(std::string_view key, Get get, std::string_view text,
                  Presence presence = Presence::always) {
    return Field(As<Form>{}, key, get, {text, presence});
  }

  /// What does not stand for one member: `Form` writes it from a T, and reads it into one.
  template <typename Form>
  static Field by(std::string_view key, std::string_view text);

  /// All fields of a member, in the same map.
  template <typename Get>
  static Field all_of(Get get);

  void write(Json& map, const T& value) const { write_(map, value); }
  /// Throws Error (damaged).
  void read(const Json& map, T& value) const { read_(map, value); }
  void describe(Catalog& catalog, Json& list) const { describe_(catalog, list); }

 private:
  template <typename Get>
  using ValueOf = std::remove_cvref_t<std::invoke_result_t<Get, T&>>;
  template <typename Form>
  struct As {};
  struct Meaning {
    std::string_view text;
    Presence presence;
  };

  Field() = default;
  template <typename Form, typename Get>
  Field(As<Form> form, std::string_view key, Get get, Meaning meaning);

  template <typename Form>
  static std::function<void(Catalog&, Json&)> described(std::string_view key, Meaning meaning) {
    return [=](Catalog& catalog, Json& list) {
      constexpr std::array<std::string_view, 4> kNames = {"always", "later", "unusual", "always"};
      list.push_back({{"key", key},
                      {"type", Form::type(catalog)},
                      {"text", meaning.text},
                      {"presence", kNames.at(static_cast<std::size_t>(meaning.presence))}});
    };
  }

  std::function<void(Json&, const T&)> write_;
  std::function<void(const Json&, T&)> read_;
  std::function<void(Catalog&, Json&)> describe_;
};

/// The fields of a struct.
template <typename T>
class Fields {
 public:
  /// `name` in the documentation. `check` is called with each one that was read: it throws Error
  /// (damaged) for what no process can have.
  Fields(std::string_view name, std::vector<Field<T>> fields, void (*check)(T&) = nullptr)
      : name_(name), fields_(std::move(fields)), check_(check) {}

  [[nodiscard]] std::string_view name() const { return name_; }

  [[nodiscard]] Json write(const T& value) const {
    Json map = Json::object();
    add(map, value);
    return map;
  }

  void add(Json& map, const T& value) const {
    for (const Field<T>& field : fields_) field.write(map, value);
  }

  /// Throws Error (damaged).
  [[nodiscard]] T read(const Json& map) const {
    if (!map.is_object()) mistyped("map");
    T value{};
    for (const Field<T>& field : fields_) field.read(map, value);
    if (check_ != nullptr) check_(value);
    return value;
  }

  void describe(Catalog& catalog, Json& list) const {
    for (const Field<T>& field : fields_) field.describe(catalog, list);
  }

 private:
  std::string_view name_;
  std::vector<Field<T>> fields_;
  void (*check_)(T&);
};

template <typename T>
template <typename Form, typename Get>
Field<T>::Field(As<Form> /*form*/, std::string_view key, Get get, Meaning meaning) {
  const auto at = [get](auto& object) -> auto& { return std::invoke(get, object); };
  write_ = [=](Json& map, const T& object) {
    if (meaning.presence != Presence::unusual || !is_usual(at(object), at(initial_value<T>())))
      map[std::string(key)] = Form::write(at(object));
  };
  read_ = [=](const Json& map, T& object) {
    const auto found = map.find(key);
    if (found == map.end() || (found->is_null() && meaning.presence != Presence::always)) {
      if (meaning.presence == Presence::always) missing(key);
      return;
    }
    at(object) = with_name(key, [&] { return Form::read(*found); });
  };
  describe_ = described<Form>(key, meaning);
}

template <typename T>
template <typename Form>
Field<T> Field<T>::by(std::string_view key, std::string_view text) {
  Field field;
  field.write_ = [=](Json& map, const T& object) { map[std::string(key)] = Form::write(object); };
  field.read_ = [=](const Json& map, T& object) {
    const auto found = map.find(key);
    if (found == map.end()) missing(key);
    with_name(key, [&] { Form::read(*found, object); });
  };
  field.describe_ = described<Form>(key, {text, Presence::always});
  return field;
}

template <typename T>
template <typename Get>
Field<T> Field<T>::all_of(Get get) {
  using Member = ValueOf<Get>;
  const auto fields = []() -> const Fields<Member>& {
    return fields_of(static_cast<const Member*>(nullptr));
  };
  Field field;
  field.write_ = [=](Json& map, const T& object) { fields().add(map, std::invoke(get, object)); };
  field.read_ = [=](const Json& map, T& object) { std::invoke(get, object) = fields().read(map); };
  field.describe_ = [=](Catalog& catalog, Json& list) { fields().describe(catalog, list); };
  return field;
}

/// A struct that has fields is a map.
template <typename T>
requires requires(const T* type) { fields_of(type); }
struct Codec<T> {
  static Json write(const T& value) { return fields_of(&value).write(value); }
  static T read(const Json& json) { return fields_of(static_cast<const T*>(nullptr)).read(json); }
  static Json type(Catalog& catalog) {
    const auto& fields = fields_of(static_cast<const T*>(nullptr));
    return catalog.add(fields.name(), [&](Json& list) { fields.describe(catalog, list); });
  }
};

/// A value as it stands in a record.
template <typename T>
Json encode(const T& value) {
  return Codec<T>::write(value);
}

/// Throws Error (damaged).
template <typename T>
T decode(const Json& json) {
  return Codec<T>::read(json);
}

}  // namespace ckpt::image
