#include "state/report.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace ckpt::state {

namespace {

constexpr std::array<std::pair<Severity, std::string_view>, 3> kSeverities = {{
    {Severity::lost, "lost"},
    {Severity::changed, "changed"},
    {Severity::note, "note"},
}};

}  // namespace

std::string_view severity_name(Severity severity) noexcept {
  return image::Named<kSeverities>::name_of(severity);
}

void Report::add(Severity severity, std::string object, std::string kind, std::string text) {
  findings_.push_back({severity, std::move(object), std::move(kind), std::move(text)});
}

std::vector<Finding> Report::sorted() const {
  auto list = findings_;
  std::stable_sort(list.begin(), list.end(),
                   [](const Finding& a, const Finding& b) { return a.severity < b.severity; });
  return list;
}

const image::Fields<Finding>& fields_of(const Finding* /*type*/) {
  static const image::Fields<Finding> fields = {
      "finding",
      {image::Field<Finding>::as<image::Named<kSeverities>>("severity", &Finding::severity, ""),
       {"object", &Finding::object, "`fd 5`, `process`, ..."},
       {"kind", &Finding::kind, ""},
       {"text", &Finding::text, ""}}};
  return fields;
}

}  // namespace ckpt::state
