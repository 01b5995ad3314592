#include "state/report.hpp"

#include <algorithm>

namespace ckpt::state {

std::string_view severity_name(Severity severity) noexcept {
  switch (severity) {
    case Severity::lost: return "lost";
    case Severity::changed: return "changed";
    case Severity::note: return "note";
  }
  return "note";
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

image::Json findings_to_json(const std::vector<Finding>& findings) {
  auto list = image::Json::array();
  for (const Finding& finding : findings)
    list.push_back({{"severity", severity_name(finding.severity)},
                    {"object", finding.object},
                    {"kind", finding.kind},
                    {"text", finding.text}});
  return list;
}

std::vector<Finding> findings_from_json(const image::Json& list) {
  std::vector<Finding> findings;
  for (const auto& item : list) {
    const auto severity = item.at("severity").get<std::string>();
    findings.push_back({severity == "lost"      ? Severity::lost
                        : severity == "changed" ? Severity::changed
                                                : Severity::note,
                        item.at("object"), item.at("kind"), item.at("text")});
  }
  return findings;
}

}  // namespace ckpt::state
