// The record of a snapshot as a whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "arch/xstate.hpp"
#include "base/error.hpp"
#include "image/fields.hpp"
#include "snapshot/process_image.hpp"
#include "snapshot/shared_objects.hpp"
#include "state/report.hpp"
#include "store/objects.hpp"

namespace ckpt::snapshot {

/// The machine of the save.
struct Host {
  std::string kernel;
  std::string hostname;
  std::string boot_id;
  std::vector<std::string> cpu_flags;        // those that stand for instructions
  std::optional<arch::XstateLayout> xstate;  // of the threads' extended state
};

/// Where a debugger stood.
struct Selection {
  Tid tid = 0;
  int frame = 0;  // level, 0 is the innermost
};

/// The snapshot that the process was restored from.
struct Parent {
  std::string name;    // then
  double created = 0;  // seconds since 1970
};

struct StoredObject : store::ObjectRef {
  std::string path;  // where it was taken from
};

struct Record {
  std::uint32_t format = image::kFormatVersion;
  std::string creator;
  double created = 0;  // seconds since 1970
  std::string name, message;
  std::string stop, place;
  std::optional<Parent> parent;
  std::string store;
  Host host;
  SharedObjects shared;
  std::vector<ProcessImage> processes;
  Selection selected;
  image::Json terminal_size, terminal;
  std::vector<state::Finding> fidelity;  // worst first
  image::Json session;                   // the debugger's
  std::vector<StoredObject> objects;
  std::vector<std::vector<std::byte>> extents;
};

const image::Fields<Host>& fields_of(const Host* /*type*/);
const image::Fields<Selection>& fields_of(const Selection* /*type*/);
const image::Fields<Parent>& fields_of(const Parent* /*type*/);
const image::Fields<StoredObject>& fields_of(const StoredObject* /*type*/);
const image::Fields<Record>& fields_of(const Record* /*type*/);

/// A record that has the right digest may still have been made by another program: puts `path` in
/// front of what is damaged of the snapshot in that file. What is wrong with a file is told of that
/// file.
template <typename Function>
auto in_file(const std::string& path, Function function) {
  try {
    return function();
  } catch (const image::Json::exception& error) {
    fail(ErrorKind::damaged, "{}: the snapshot is damaged: {}", path, error.what());
  } catch (Error& error) {
    if (error.kind() == ErrorKind::damaged && !std::string_view(error.what()).starts_with(path))
      error.add_context(path);
    throw;
  }
}

/// All maps of a record, by name: lists of fields with `key`, `type`, `text`, `presence`.
image::Json record_schema();

}  // namespace ckpt::snapshot
