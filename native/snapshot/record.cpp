#include "snapshot/record.hpp"

#include "state/process/xstate.hpp"

namespace ckpt::snapshot {

const image::Fields<Host>& fields_of(const Host* /*type*/) {
  using enum image::Presence;
  using Layout = image::Optional<arch::XstateLayout, state::Xstate>;
  static const image::Fields<Host> fields = {
      "host",
      {{"kernel", &Host::kernel, "its release"},
       {"hostname", &Host::hostname, ""},
       {"boot_id", &Host::boot_id, ""},
       {"cpu_flags", &Host::cpu_flags, "the flags of `/proc/cpuinfo` that stand for instructions"},
       image::Field<Host>::as<Layout>(
           "xstate", &Host::xstate,
           "number, offset and size in bytes of each XSAVE component behind the first 576 bytes, "
           "in the standard format; null: as on the reader's processor",
           later)}};
  return fields;
}

const image::Fields<Selection>& fields_of(const Selection* /*type*/) {
  static const image::Fields<Selection> fields = {
      "selection",
      {{"tid", &Selection::tid, "as in `threads`"},
       {"frame", &Selection::frame, "its level, 0 is the innermost"}}};
  return fields;
}

const image::Fields<Parent>& fields_of(const Parent* /*type*/) {
  static const image::Fields<Parent> fields = {
      "parent",
      {{"name", &Parent::name, "its name then"},
       {"created", &Parent::created, "which tells it from all others"}}};
  return fields;
}

const image::Fields<StoredObject>& fields_of(const StoredObject* /*type*/) {
  static const image::Fields<StoredObject> fields = {
      "stored_object",
      {image::Field<StoredObject>::all_of(image::Base<store::ObjectRef>()),
       {"path", &StoredObject::path, "where it was taken from"}}};
  return fields;
}

const image::Fields<Record>& fields_of(const Record* /*type*/) {
  using enum image::Presence;
  using R = Record;
  static const image::Fields<R> fields = {
      "record",
      {{"format", &R::format, "version of the format"},
       {"creator", &R::creator, "program and version"},
       {"created", &R::created, "when it was written, in seconds since 1970"},
       {"name", &R::name, "as given to the save"},
       {"message", &R::message, "likewise"},
       {"stop", &R::stop, "where the selected thread stopped, in words"},
       {"place", &R::place,
        "the same in a few words: its innermost frame in the program's own code, after the signal "
        "if it got one",
        later},
       {"parent", &R::parent, "the snapshot that the process was restored from", later},
       {"store", &R::store, "absolute path of the store that was used"},
       {"host", &R::host, "the machine of the save"},
       {"shared", &R::shared, "what several processes may have"},
       {"processes", &R::processes, "there is one"},
       {"selected", &R::selected, "where the debugger stood"},
       {"terminal_size", &R::terminal_size, "rows and columns of its terminal, or null", later},
       {"terminal", &R::terminal,
        "a map of `iflag`, `oflag`, `cflag`, `lflag` (ints) and `cc` (list of ints) of "
        "termios(3); null when unknown"},
       {"fidelity", &R::fidelity, "what does not come back as it was; worst first"},
       {"session", &R::session,
        "the debugger's own state, at which the core does not look. See [session](#session)"},
       {"objects", &R::objects, "every object of the store that the snapshot needs"},
       {"extents", &R::extents, "[extents](#extents) of each process, in the order of `processes`",
        apart}},
      [](R& record) {
        if (record.processes.empty()) image::damaged("the list of processes");
      }};
  return fields;
}

image::Json record_schema() {
  image::Catalog catalog;
  image::Codec<Record>::type(catalog);
  return catalog.maps();
}

}  // namespace ckpt::snapshot
