#include "snapshot/shared_objects.hpp"

#include "state/terminal/terminal_input.hpp"

namespace ckpt::snapshot {

const image::Fields<SharedObjects>& fields_of(const SharedObjects* /*type*/) {
  using enum image::Presence;
  using S = SharedObjects;
  using Field = image::Field<S>;
  static const image::Fields<S> fields = {
      "shared",
      {{"descriptions", &S::descriptions, "open file descriptions"},
       {"memory", &S::memory, "memory that several mappings may show"},
       {"sysv", &S::sysv, "System V objects that the process was the last to use", later},
       Field::as<state::TypedInput>(
           "terminal_input", &S::terminal_input,
           "the bytes that were typed there for the program and not read; 0 is an end of file "
           "where the terminal hands over lines",
           later)},
      [](S& shared) { state::check_references(shared.descriptions); }};
  return fields;
}

}  // namespace ckpt::snapshot
