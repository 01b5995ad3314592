#include "bindings/store.hpp"

#include <optional>
#include <string>

#include "store/directory.hpp"
#include "store/links.hpp"
#include "store/listing.hpp"
#include "store/names.hpp"

namespace ckpt::bindings {

namespace py = pybind11;

namespace {

/// A path or a name: str, bytes or os.PathLike.
std::string from_path(const py::object& path) {
  const auto plain = py::reinterpret_steal<py::object>(PyOS_FSPath(path.ptr()));
  if (!plain) throw py::error_already_set();
  if (py::isinstance<py::bytes>(plain)) return plain.cast<std::string>();
  const auto bytes = py::reinterpret_steal<py::bytes>(PyUnicode_EncodeFSDefault(plain.ptr()));
  if (!bytes) throw py::error_already_set();
  return bytes;
}

py::str to_path(const std::string& path) {
  return py::reinterpret_steal<py::str>(
      PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<Py_ssize_t>(path.size())));
}

store::SaidName said_by(const py::function& function) {
  return [function](const std::string& path) { return from_path(function(to_path(path))); };
}

py::tuple to_tuple(const store::Listed& listed) {
  py::object noted = py::none();
  if (listed.external) noted = py::float_(listed.noted_s);
  return py::make_tuple(to_path(listed.name), to_path(listed.path), noted);
}

py::list list_snapshots(const py::object& root, const py::function& said) {
  py::list found;
  for (const auto& each : store::list(from_path(root), said_by(said))) found.append(to_tuple(each));
  return found;
}

py::object find_snapshot(const py::object& root, const py::object& name, const py::function& said) {
  const auto found = store::find(from_path(root), from_path(name), said_by(said));
  return found ? py::object(to_tuple(*found)) : py::none();
}

py::list claimed(const py::object& root) {
  py::list found;
  for (const auto& link : store::links(from_path(root)))
    if (link.kind == store::LinkKind::claim) found.append(to_path(link.target));
  return found;
}

/// The number of a descriptor that is the caller's from now on.
py::object given_away(UniqueFd fd) { return fd ? py::object(py::int_(fd.release())) : py::none(); }

py::dict layout_of(const py::object& root) {
  const store::Layout layout{from_path(root)};
  py::dict parts;
  parts["snapshots"] = to_path(layout.snapshots());
  parts["objects"] = to_path(layout.objects());
  parts["index"] = to_path(layout.index());
  parts["external"] = to_path(layout.external());
  parts["debug"] = to_path(layout.debug());
  parts["scratch"] = to_path(layout.scratch());
  parts["sessions"] = to_path(layout.sessions());
  parts["imported"] = to_path(layout.imported());
  return parts;
}

void define_directory(py::module_& module) {
  module.attr("STORE_SUFFIX") = std::string(store::kSuffix);
  module.def("store_layout", &layout_of, py::arg("root"),
             "Where the parts of a store lie, by their names: a dict.");
  module.def(
      "store_snapshot",
      [](const py::object& root, const py::object& name) {
        return to_path(store::Layout{from_path(root)}.snapshot(from_path(name)));
      },
      py::arg("root"), py::arg("name"), "Where the snapshot called `name` lies.");
  module.def(
      "store_holds",
      [](const py::object& root, const py::object& path) {
        return store::Layout{from_path(root)}.holds(from_path(path));
      },
      py::arg("root"), py::arg("path"),
      "Whether the file is one of the store's snapshots, by whatever path.");
  module.def(
      "store_object",
      [](const py::object& root, const py::object& hash, const py::object& name) {
        const auto path = store::Layout{from_path(root)}.object(from_path(hash), from_path(name));
        return path ? py::object(to_path(*path)) : py::none();
      },
      py::arg("root"), py::arg("hash"), py::arg("name"),
      "Where the object with that hash and name lies, there or not; None for what is none of an "
      "object.");
  module.def(
      "store_make_place",
      [](const py::object& root, const py::object& hash, const py::object& name) {
        return to_path(store::make_place(from_path(root), from_path(hash), from_path(name)));
      },
      py::arg("root"), py::arg("hash"), py::arg("name"),
      "The same, with the directories above it. Raises NativeError.");
  module.def(
      "store_default_directory", [] { return to_path(store::default_directory()); },
      "Where the store is by default. Raises NativeError.");
  module.def(
      "store_check", [](const py::object& root) { return store::check_directory(from_path(root)); },
      py::arg("root"),
      "Whether there is a store. Raises NativeError for one that is not the user's own.");
  module.def(
      "store_create", [](const py::object& root) { store::create_directory(from_path(root)); },
      py::arg("root"), "Makes what is missing of the store. Raises NativeError.");
  module.def(
      "store_hold",
      [](const py::object& root) {
        const std::string directory = from_path(root);
        UniqueFd lock;
        {
          const py::gil_scoped_release released;
          lock = store::hold(directory, [] {
            const py::gil_scoped_acquire acquired;
            if (PyErr_CheckSignals() != 0) throw py::error_already_set();
          });
        }
        return given_away(std::move(lock));
      },
      py::arg("root"),
      "A descriptor: nothing is collected until it is closed. Waits for a collection to end. None "
      "if there is no store. Raises NativeError.");
  module.def(
      "store_hold_alone",
      [](const py::object& root) { return given_away(store::hold_alone(from_path(root))); },
      py::arg("root"),
      "A descriptor: no other process holds the store until it is closed. None if one does.");
}

void define_names(py::module_& module) {
  module.def(
      "store_check_name", [](const py::object& name) { store::check_name(from_path(name)); },
      py::arg("name"), "Raises NativeError for what no snapshot may be called.");
  module.def(
      "store_list", &list_snapshots, py::arg("root"), py::arg("said"),
      "All snapshots: tuples of name, path, and for one elsewhere when the store has learned of it "
      "(Unix seconds), else None. said: called with the path of one elsewhere, returns the name in "
      "its record, or an empty text.");
  module.def("store_find", &find_snapshot, py::arg("root"), py::arg("name"), py::arg("said"),
             "The one called `name`, or None.");
  module.def(
      "store_default_name",
      [](const py::object& root, const py::object& program, const std::string& kind,
         const py::function& said) {
        return to_path(
            store::default_name(from_path(root), from_path(program), kind, said_by(said)));
      },
      py::arg("root"), py::arg("program"), py::arg("kind"), py::arg("said"),
      "PROGRAM-N, or PROGRAM-KIND-N: the next name that is free. program: a path.");
}

void define_links(py::module_& module) {
  module.def(
      "store_add_link",
      [](const py::object& root, const py::object& image) {
        store::add_link(from_path(root), from_path(image), store::LinkKind::listed);
      },
      py::arg("root"), py::arg("image"),
      "Lists a snapshot that lies elsewhere. Raises NativeError.");
  module.def(
      "store_claim",
      [](const py::object& root, const py::object& image, const py::object& saved_with) {
        store::claim(from_path(root), from_path(image), from_path(saved_with));
      },
      py::arg("root"), py::arg("image"), py::arg("saved_with"),
      "Has the store keep what a snapshot elsewhere needs that was saved with it. saved_with: the "
      "store in its record.");
  module.def("store_claims", &claimed, py::arg("root"),
             "The snapshots elsewhere that are claimed, there or not.");
  module.def(
      "store_remove_links",
      [](const py::object& root, const py::object& image) {
        store::remove_links(from_path(root), from_path(image));
      },
      py::arg("root"), py::arg("image"), "Removes all links to a snapshot, which stays.");
  module.def(
      "store_remove_dead_links",
      [](const py::object& root) { store::remove_dead_links(from_path(root)); }, py::arg("root"),
      "Removes the links that lead nowhere.");
}

}  // namespace

void define_store(py::module_& module) {
  define_directory(module);
  define_names(module);
  define_links(module);
}

}  // namespace ckpt::bindings
