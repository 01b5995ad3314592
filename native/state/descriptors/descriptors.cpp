#include "state/descriptors/descriptors.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.hpp"

namespace ckpt::state {

namespace {

using image::Json;

constexpr std::array<std::pair<DescriptionKind, std::string_view>, 19> kKinds = {{
    {DescriptionKind::file, "file"},
    {DescriptionKind::path, "path"},
    {DescriptionKind::removed_directory, "removed_directory"},
    {DescriptionKind::own_proc, "own_proc"},
    {DescriptionKind::terminal, "terminal"},
    {DescriptionKind::stream, "stream"},
    {DescriptionKind::pipe, "pipe"},
    {DescriptionKind::eventfd, "eventfd"},
    {DescriptionKind::timerfd, "timerfd"},
    {DescriptionKind::signalfd, "signalfd"},
    {DescriptionKind::pidfd, "pidfd"},
    {DescriptionKind::epoll, "epoll"},
    {DescriptionKind::inotify, "inotify"},
    {DescriptionKind::socket, "socket"},
    {DescriptionKind::pty_master, "pty_master"},
    {DescriptionKind::pty_slave, "pty_slave"},
    {DescriptionKind::message_queue, "message_queue"},
    {DescriptionKind::io_uring, "io_uring"},
    {DescriptionKind::lost, "lost"},
}};

constexpr int kHighestFd = 1 << 20;

struct DetailsToJson {
  Json operator()(const std::monostate& /*none*/) const { return {}; }
  Json operator()(const Pipe& pipe) const { return pipe_to_json(pipe); }
  Json operator()(const EventFd& event) const { return event_file_to_json(event); }
  Json operator()(const TimerFd& timer) const { return event_file_to_json(timer); }
  Json operator()(const SignalFd& signals) const { return event_file_to_json(signals); }
  Json operator()(const PidFd& pidfd) const { return event_file_to_json(pidfd); }
  Json operator()(const Epoll& epoll) const { return epoll_to_json(epoll); }
  Json operator()(const Inotify& inotify) const { return inotify_to_json(inotify); }
  Json operator()(const Socket& socket) const { return socket_to_json(socket); }
  Json operator()(const Pty& pty) const { return pty_to_json(pty); }
  Json operator()(const MessageQueue& queue) const { return message_queue_to_json(queue); }
  Json operator()(const IoUring& ring) const { return io_uring_to_json(ring); }
  Json operator()(const RemovedDirectory& directory) const {
    return removed_directory_to_json(directory);
  }
  Json operator()(const Identity& process) const { return identity_to_json(process); }
};

DescriptionDetails details_from_json(DescriptionKind kind, const Json& json) {
  switch (kind) {
    case DescriptionKind::pipe: return pipe_from_json(json);
    case DescriptionKind::eventfd: return eventfd_from_json(json);
    case DescriptionKind::timerfd: return timerfd_from_json(json);
    case DescriptionKind::signalfd: return signalfd_from_json(json);
    case DescriptionKind::pidfd: return pidfd_from_json(json);
    case DescriptionKind::epoll: return epoll_from_json(json);
    case DescriptionKind::inotify: return inotify_from_json(json);
    case DescriptionKind::socket: return socket_from_json(json);
    case DescriptionKind::message_queue: return message_queue_from_json(json);
    case DescriptionKind::io_uring: return io_uring_from_json(json);
    case DescriptionKind::removed_directory: return removed_directory_from_json(json);
    case DescriptionKind::pty_master:
    case DescriptionKind::pty_slave: return pty_from_json(json);
    case DescriptionKind::path:
      if (json.is_null()) break;
      if (json.contains("pid")) return identity_from_json(json);
      return removed_directory_from_json(json);
    case DescriptionKind::file:
    case DescriptionKind::own_proc:
    case DescriptionKind::terminal:
    case DescriptionKind::stream:
    case DescriptionKind::lost: break;
  }
  return std::monostate{};
}

Description description_from_json(const Json& json) {
  Description description;
  const auto kind = json.at("kind").get<std::string>();
  const auto* known = std::find_if(kKinds.begin(), kKinds.end(),
                                   [&](const auto& entry) { return entry.second == kind; });
  if (known == kKinds.end()) image::damaged("the kind of a descriptor");
  description.kind = known->first;
  description.path = json.at("path");
  description.flags = json.at("flags");
  description.offset_bytes = json.at("offset");
  if (!json.at("file").is_null()) description.file = kept_file_from_json(json.at("file"));
  if (description.kind == DescriptionKind::file && !description.file)
    image::damaged("a descriptor's file");
  description.stream = json.at("stream");
  if (description.stream < -1 || description.stream > 2) image::damaged("a stream");
  description.owner = owner_from_json(json.at("owner"));
  for (const Json& item : json.at("locks")) description.locks.push_back(lock_from_json(item));
  description.details = details_from_json(description.kind, json.at("details"));
  return description;
}

// Numbers in one description that name others.
void check_references(const DescriptorTable& table) {
  const auto check = [&](std::size_t description) {
    if (description >= table.descriptions.size()) image::damaged("a reference to a descriptor");
  };
  for (const Description& description : table.descriptions) {
    if (const auto* epoll = std::get_if<Epoll>(&description.details))
      for (const auto& entry : epoll->entries) check(entry.description);
    if (const auto* socket = std::get_if<Socket>(&description.details))
      for (const auto& message : socket->queue)
        for (const std::size_t passed : message.descriptors) check(passed);
    if (const auto* ring = std::get_if<IoUring>(&description.details)) {
      for (const auto& file : ring->files)
        if (file) check(*file);
      if (ring->eventfd) check(*ring->eventfd);
    }
  }
}

}  // namespace

Json descriptors_to_json(const DescriptorTable& table) {
  Json descriptions = Json::array();
  for (const Description& description : table.descriptions) {
    std::string_view kind;
    for (const auto& [value, name] : kKinds)
      if (value == description.kind) kind = name;
    Json locks = Json::array();
    for (const FileLock& lock : description.locks) locks.push_back(lock_to_json(lock));
    descriptions.push_back(
        {{"kind", kind},
         {"path", description.path},
         {"flags", description.flags},
         {"offset", description.offset_bytes},
         {"file", description.file ? kept_file_to_json(*description.file) : Json()},
         {"stream", description.stream},
         {"owner", owner_to_json(description.owner)},
         {"locks", std::move(locks)},
         {"details", std::visit(DetailsToJson{}, description.details)}});
  }
  Json descriptors = Json::array();
  for (const Descriptor& descriptor : table.descriptors)
    descriptors.push_back({{"fd", descriptor.fd},
                           {"close_on_exec", descriptor.close_on_exec},
                           {"description", descriptor.description}});
  return {{"descriptors", std::move(descriptors)}, {"descriptions", std::move(descriptions)}};
}

DescriptorTable descriptors_from_json(const Json& json) {
  DescriptorTable table;
  for (const Json& item : json.at("descriptions"))
    table.descriptions.push_back(description_from_json(item));
  int last = -1;
  for (const Json& item : json.at("descriptors")) {
    Descriptor descriptor;
    descriptor.fd = item.at("fd");
    descriptor.close_on_exec = item.at("close_on_exec");
    descriptor.description = item.at("description");
    if (descriptor.fd <= last || descriptor.fd > kHighestFd ||
        descriptor.description >= table.descriptions.size())
      image::damaged("the table of descriptors");
    last = descriptor.fd;
    table.descriptors.push_back(descriptor);
  }
  check_references(table);
  return table;
}

std::string description_name(const DescriptorTable& table, std::size_t description) {
  for (const Descriptor& descriptor : table.descriptors)
    if (descriptor.description == description) return fmt::format("fd {}", descriptor.fd);
  return "a descriptor in a message";
}

}  // namespace ckpt::state
