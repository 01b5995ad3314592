// The fidelity report: what a restore will not bring back as it was, said at save time.
#pragma once

#include <string>
#include <vector>

#include "image/fields.hpp"

namespace ckpt::state {

enum class Severity {
  lost,     // it does not come back; the program will notice when it uses it
  changed,  // it comes back as something else
  note,     // worth knowing, the program goes on as before
};

struct Finding {
  Severity severity = Severity::note;
  std::string object;  // "fd 5", "process", "memory 0x7f...-0x7f..."
  std::string kind;    // "socket", "timer"
  std::string text;    // one sentence: what, and what the program will see
};

class Report {
 public:
  void add(Severity severity, std::string object, std::string kind, std::string text);
  /// Worst first, otherwise in the order in which they were found.
  [[nodiscard]] std::vector<Finding> sorted() const;

 private:
  std::vector<Finding> findings_;
};

const image::Fields<Finding>& fields_of(const Finding* /*type*/);
std::string_view severity_name(Severity severity) noexcept;

}  // namespace ckpt::state
