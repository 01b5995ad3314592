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

struct KindName {
  static Json write(const DescriptorKind* kind) { return kind->name; }
  static const DescriptorKind* read(const Json& json) {
    const auto* kind = find_kind(image::decode<std::string>(json));
    if (kind == nullptr) image::damaged("the kind of a descriptor");
    return kind;
  }
  static Json type(image::Catalog& /*catalog*/) {
    Json names = Json::array();
    for (const DescriptorKind* kind : all_kinds()) names.push_back(kind->name);
    return {{"names", std::move(names)}};
  }
};

// Read when the kind is known.
struct Details {
  static Json write(const Description& description) {
    const auto* form = description.kind->details;
    return form != nullptr && description.details.has_value() ? form->write(description.details)
                                                              : Json();
  }
  static void read(const Json& json, Description& description) {
    if (description.kind->details != nullptr)
      description.details = description.kind->details->read(json);
  }
  static Json type(image::Catalog& catalog) {
    Json kinds = Json::object();
    for (const DescriptorKind* kind : all_kinds())
      if (kind->details != nullptr) kinds[std::string(kind->name)] = kind->details->type(catalog);
    return {{"kinds", std::move(kinds)}};
  }
};

void check_description(Description& description) {
  if (description.kind == &kinds::kFile && !description.file) image::damaged("a descriptor's file");
  if (description.stream < -1 || description.stream > 2) image::damaged("a stream");
}

}  // namespace

const image::Fields<Description>& fields_of(const Description* /*type*/) {
  using D = Description;
  using Field = image::Field<D>;
  static const image::Fields<D> fields = {
      "description",
      {Field::as<KindName>("kind", &D::kind,
                           "`path`: opened again by name; `removed_entry`: a symbolic link, a FIFO "
                           "or local socket by its name alone, or a stateless device; `stream`: 0, "
                           "1 or 2 with its other end outside"),
       {"path", &D::path, "the link in `/proc/PID/fd`"},
       {"flags", &D::flags, "open(2), without `O_CLOEXEC`"},
       {"offset", &D::offset_bytes, "in bytes"},
       {"file", &D::file, "not null for `file`"},
       {"stream", &D::stream, "0, 1 or 2, else -1"},
       {"owner", &D::owner, "fcntl(2), F_SETOWN"},
       {"locks", &D::locks, ""},
       Field::by<Details>("details", "what only this kind has, else null")},
      check_description};
  return fields;
}

const image::Fields<Descriptor>& fields_of(const Descriptor* /*type*/) {
  static const image::Fields<Descriptor> fields = {
      "descriptor",
      {{"fd", &Descriptor::fd, ""},
       {"close_on_exec", &Descriptor::close_on_exec, ""},
       {"description", &Descriptor::description, "index"}}};
  return fields;
}

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

void check_descriptor_numbers(const std::vector<Descriptor>& descriptors,
                              std::size_t descriptions) {
  int last = -1;
  for (const Descriptor& descriptor : descriptors) {
    if (descriptor.fd <= last || descriptor.fd > kHighestFd ||
        descriptor.description >= descriptions)
      image::damaged("the table of descriptors");
    last = descriptor.fd;
  }
}

std::string description_name(const DescriptorTable& table, std::size_t description) {
  const auto number = number_of(table, description);
  return number ? fmt::format("fd {}", *number) : "a descriptor in a message";
}

}  // namespace ckpt::state
