#include "state/descriptors/descriptors.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "state/descriptors/epoll.hpp"
#include "state/descriptors/kinds.hpp"
#include "state/rings/io_uring.hpp"
#include "state/sockets/sockets.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr int kHighestFd = 1 << 20;

Description description_from_json(const Json& json) {
  Description description;
  description.kind = find_kind(json.at("kind").get<std::string>());
  if (description.kind == nullptr) image::damaged("the kind of a descriptor");
  description.path = json.at("path");
  description.flags = json.at("flags");
  description.offset_bytes = json.at("offset");
  if (!json.at("file").is_null()) description.file = kept_file_from_json(json.at("file"));
  if (description.kind == &kinds::kFile && !description.file) image::damaged("a descriptor's file");
  description.stream = json.at("stream");
  if (description.stream < -1 || description.stream > 2) image::damaged("a stream");
  description.owner = owner_from_json(json.at("owner"));
  for (const Json& item : json.at("locks")) description.locks.push_back(lock_from_json(item));
  if (description.kind->from_json != nullptr)
    description.details = description.kind->from_json(json.at("details"));
  return description;
}

// Numbers in one description that name others.
void check_references(const std::vector<Description>& descriptions) {
  const auto check = [&](std::size_t description) {
    if (description >= descriptions.size()) image::damaged("a reference to a descriptor");
  };
  for (const Description& description : descriptions) {
    if (const auto* epoll = description.as<Epoll>())
      for (const auto& entry : epoll->entries) check(entry.description);
    if (const auto* socket = description.as<Socket>())
      for (const auto& message : socket->queue)
        for (const std::size_t passed : message.descriptors) check(passed);
    if (const auto* ring = description.as<IoUring>()) {
      for (const auto& file : ring->files)
        if (file) check(*file);
      if (ring->eventfd) check(*ring->eventfd);
    }
  }
}

}  // namespace

Json descriptions_to_json(const std::vector<Description>& descriptions) {
  Json list = Json::array();
  for (const Description& description : descriptions) {
    Json details;
    if (description.kind->to_json != nullptr && description.details.has_value())
      details = description.kind->to_json(description.details);
    Json locks = Json::array();
    for (const FileLock& lock : description.locks) locks.push_back(lock_to_json(lock));
    list.push_back({{"kind", description.kind->name},
                    {"path", description.path},
                    {"flags", description.flags},
                    {"offset", description.offset_bytes},
                    {"file", description.file ? kept_file_to_json(*description.file) : Json()},
                    {"stream", description.stream},
                    {"owner", owner_to_json(description.owner)},
                    {"locks", std::move(locks)},
                    {"details", std::move(details)}});
  }
  return list;
}

Json descriptors_to_json(const std::vector<Descriptor>& descriptors) {
  Json list = Json::array();
  for (const Descriptor& descriptor : descriptors)
    list.push_back({{"fd", descriptor.fd},
                    {"close_on_exec", descriptor.close_on_exec},
                    {"description", descriptor.description}});
  return list;
}

std::vector<Description> descriptions_from_json(const Json& json) {
  std::vector<Description> descriptions;
  for (const Json& item : json) descriptions.push_back(description_from_json(item));
  check_references(descriptions);
  return descriptions;
}

std::vector<Descriptor> descriptors_from_json(const Json& json, std::size_t descriptions) {
  std::vector<Descriptor> descriptors;
  int last = -1;
  for (const Json& item : json) {
    Descriptor descriptor;
    descriptor.fd = item.at("fd");
    descriptor.close_on_exec = item.at("close_on_exec");
    descriptor.description = item.at("description");
    if (descriptor.fd <= last || descriptor.fd > kHighestFd ||
        descriptor.description >= descriptions)
      image::damaged("the table of descriptors");
    last = descriptor.fd;
    descriptors.push_back(descriptor);
  }
  return descriptors;
}

std::string description_name(const DescriptorTable& table, std::size_t description) {
  const auto number = number_of(table, description);
  return number ? fmt::format("fd {}", *number) : "a descriptor in a message";
}

}  // namespace ckpt::state
