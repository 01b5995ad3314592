#include "snapshot/describe.hpp"

#include "base/error.hpp"
#include "snapshot/record.hpp"
#include "snapshot/snapshot.hpp"

namespace ckpt::snapshot {

namespace {

using image::Json;

// Bytes have no place in JSON; what is worth showing of them is shown otherwise.
Json without_bytes(const Json& value) {
  if (value.is_object()) {
    Json out = Json::object();
    for (const auto& [key, item] : value.items())
      if (!item.is_binary()) out[key] = without_bytes(item);
    return out;
  }
  if (value.is_array()) {
    Json out = Json::array();
    for (const auto& item : value)
      if (!item.is_binary()) out.push_back(without_bytes(item));
    return out;
  }
  return value;
}

Json describe_mapping(const Json& mapping) {
  Json out = {{"start", mapping.at("start")}, {"end", mapping.at("end")},
              {"prot", mapping.at("prot")},   {"offset", mapping.at("offset")},
              {"path", mapping.at("path")},   {"kind", mapping.at("backing")},
              {"flags", mapping.at("flags")}, {"object", nullptr}};
  if (const Json& file = mapping.at("file"); !file.is_null() && !file.at("object").is_null())
    out["object"] = file.at("object").at("hash");
  return out;
}

Json describe_files(const Json& descriptors, const Json& descriptions) {
  Json list = Json::array();
  for (const Json& descriptor : descriptors) {
    const Json& description = descriptions.at(descriptor.at("description").get<std::size_t>());
    Json item = {{"fd", descriptor.at("fd")},
                 {"close_on_exec", descriptor.at("close_on_exec")},
                 {"shared_with", descriptor.at("description")},
                 {"kind", description.at("kind")},
                 {"path", description.at("path")},
                 {"flags", description.at("flags")},
                 {"offset", description.at("offset")},
                 {"details", without_bytes(description.at("details"))},
                 {"size", nullptr},
                 {"object", nullptr}};
    if (const Json& file = description.at("file"); !file.is_null()) {
      item["size"] = file.at("size");
      if (!file.at("object").is_null()) item["object"] = file.at("object").at("hash");
    }
    list.push_back(std::move(item));
  }
  return list;
}

}  // namespace

Json checked_record(const image::Reader& reader) {
  return in_file(reader.path(), [&] {
    const auto record = image::decode<Record>(reader.record());
    check_references(record.processes.at(0), record.shared);
    Json json = image::encode(record);
    json.erase("extents");
    return json;
  });
}

Json describe(const image::Reader& reader) {
  const Json record = checked_record(reader);
  Json out = Json::object();
  for (const char* key :
       {"format", "creator", "created", "name", "message", "stop", "place", "parent", "store",
        "host", "selected", "terminal", "fidelity", "session", "objects"})
    out[key] = without_bytes(record.at(key));
  const Json& process = record.at("processes").at(0);
  const Json& shared = record.at("shared");
  for (const char* key : {"program", "process"}) out[key] = without_bytes(process.at(key));
  if (const Json& object = process.at("program").at("object"); !object.is_null())
    out["program"]["object"] = object.at("hash");
  out["terminal_input"] = shared.at("terminal_input");
  Json threads = Json::array();
  for (const Json& thread : process.at("threads")) {
    Json item = without_bytes(thread);
    item["queued_signals"] = thread.at("queued").size();
    item.erase("queued");
    item.erase("stop_info");
    threads.push_back(std::move(item));
  }
  out["threads"] = std::move(threads);
  Json mappings = Json::array();
  for (const Json& mapping : process.at("memory").at("mappings"))
    mappings.push_back(describe_mapping(mapping));
  out["mappings"] = std::move(mappings);
  out["files"] = describe_files(process.at("descriptors"), shared.at("descriptions"));
  Json signals = without_bytes(process.at("signals"));
  signals["queued"] = process.at("signals").at("queued").size();
  out["signals"] = std::move(signals);
  std::uint64_t stored = 0;
  for (const auto& extent : reader.extents()) stored += extent.size_bytes;
  out["stored_bytes"] = stored;
  out["file_bytes"] = reader.disk_bytes();
  return out;
}

}  // namespace ckpt::snapshot
