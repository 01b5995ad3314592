#include "image/codecs.hpp"

namespace ckpt::image {

Json Catalog::add(std::string_view name, const std::function<void(Json&)>& describe) {
  const std::string key(name);
  if (!maps_.contains(key)) {
    maps_[key] = Json::array();
    Json list = Json::array();
    describe(list);
    maps_[key] = std::move(list);
  }
  return {{"map", key}};
}

Mistyped::Mistyped(std::string_view expected)
    : Error(ErrorKind::damaged, fmt::format("the snapshot is damaged: a value is no {}", expected)),
      expected_(expected) {}

void mistyped(std::string_view expected) { throw Mistyped(expected); }

void mistyped_at(std::string_view key, const Mistyped& what) {
  fail(ErrorKind::damaged, "the snapshot is damaged: \"{}\" is no {}", key, what.expected());
}

void missing(std::string_view key) {
  fail(ErrorKind::damaged, "the snapshot is damaged: \"{}\" is missing", key);
}

void expect_list(const Json& json, std::optional<std::size_t> elements) {
  if (!json.is_array()) mistyped("list");
  if (elements && json.size() != *elements) mistyped(fmt::format("list of {}", *elements));
}

bool Codec<bool>::read(const Json& json) {
  if (!json.is_boolean()) mistyped("bool");
  return json.get<bool>();
}

double Codec<double>::read(const Json& json) {
  if (!json.is_number()) mistyped("number");
  return json.get<double>();
}

std::string Codec<std::string>::read(const Json& json) {
  if (!json.is_string()) mistyped("text");
  return json.get<std::string>();
}

}  // namespace ckpt::image
