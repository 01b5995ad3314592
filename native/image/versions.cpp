#include "image/versions.hpp"

#include <array>
#include <map>
#include <string>
#include <utility>

namespace ckpt::image {

namespace {

constexpr std::uint32_t kOldest = 1;

void move_member(Json& from, Json& to, const char* name) {
  const auto found = from.find(name);
  if (found == from.end()) return;
  to[name] = std::move(*found);
  from.erase(found);
}

// Mappings of one memory had the same name for it; now that is in a list.
Json shared_memory_of(Json& memory) {
  Json list = Json::array();
  std::map<std::string, std::size_t> numbers;
  for (Json& mapping : memory.at("mappings")) {
    Json shared;
    if (mapping.at("backing") == "shared-anonymous") {
      const auto name = mapping.at("sharing").get<std::string>();
      const auto [known, is_new] = numbers.try_emplace(name, list.size());
      if (is_new) list.push_back({{"name", name}});
      shared = known->second;
    }
    mapping["shared"] = std::move(shared);
    mapping.erase("sharing");
  }
  return list;
}

// The content of a pseudoterminal was not in a map of its own, nor its lines apart, at first.
void upgrade_terminals(Json& descriptions) {
  for (Json& description : descriptions) {
    const std::string kind = description.at("kind");
    if (kind != "pty_master" && kind != "pty_slave") continue;
    Json& details = description.at("details");
    if (details.contains("content")) continue;
    Json content = {{"lines", nullptr}};
    for (const char* name : {"input", "output"}) move_member(details, content, name);
    details["content"] = std::move(content);
  }
}

// Version 1 was of one process, whose image and all that it could share were in the record itself.
void upgrade_from_1(Json& record) {
  constexpr std::array kOfProcess = {"program",    "process", "threads",     "memory",
                                     "signals",    "timers",  "children",    "clocks",
                                     "own_clocks", "aio",     "ring_numbers"};
  Json process = Json::object();
  for (const char* name : kOfProcess) move_member(record, process, name);
  Json shared = Json::object();
  for (const char* name : {"sysv", "terminal_input"}) move_member(record, shared, name);
  shared["memory"] = shared_memory_of(process.at("memory"));
  Json& files = record.at("files");
  shared["descriptions"] = std::move(files.at("descriptions"));
  upgrade_terminals(shared["descriptions"]);
  process["descriptors"] = std::move(files.at("descriptors"));
  record.erase("files");
  record["shared"] = std::move(shared);
  record["processes"] = Json::array({std::move(process)});
  record["extents"] = Json::array({std::move(record.at("extents"))});
}

}  // namespace

bool is_known_version(std::uint32_t version) {
  return version >= kOldest && version <= kFormatVersion;
}

void upgrade_record(Json& record, std::uint32_t version) {
  if (version == 1) upgrade_from_1(record);
}

}  // namespace ckpt::image
