#include "bindings/offline.hpp"

#include <pybind11/stl.h>

#include <optional>
#include <span>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/io.hpp"
#include "base/similar.hpp"
#include "base/unique_fd.hpp"
#include "bindings/callback.hpp"
#include "bindings/convert.hpp"
#include "image/compare.hpp"
#include "image/reader.hpp"
#include "image/relabel.hpp"
#include "libc/elf_symbols.hpp"
#include "snapshot/describe.hpp"
#include "snapshot/record.hpp"

namespace ckpt::bindings {

namespace py = pybind11;

namespace {

using Bytes = std::span<const std::byte>;

Bytes bytes_of(const py::buffer_info& info) {
  if (info.ndim != 1 || info.itemsize != 1 || (info.size > 1 && info.strides.front() != 1))
    fail(ErrorKind::usage, "not a contiguous buffer of bytes");
  return {static_cast<const std::byte*>(info.ptr), static_cast<std::size_t>(info.size)};
}

py::tuple read_record(int fd, const Text& path) {
  const auto reader = image::Reader::from_fd(duplicate(fd, path), path);
  const auto packed = image::pack_extents(reader.extents());
  return py::make_tuple(to_python(snapshot::checked_record(reader)),
                        py::bytes(reinterpret_cast<const char*>(packed.data()), packed.size()),
                        py::int_(reader.file_bytes()), py::int_(reader.disk_bytes()));
}

void verify_memory(int fd, const Text& path, py::object progress) {
  Callback on_progress(std::move(progress));
  const auto reader = image::Reader::from_fd(duplicate(fd, path), path);
  try {
    reader.verify_memory(on_progress.progress());
  } catch (...) {
    on_progress.rethrow();
    throw;
  }
}

std::uint64_t digest64_of(const py::buffer& buffer) {
  const auto info = buffer.request();
  const auto bytes = bytes_of(info);
  const py::gil_scoped_release released;
  return digest64(bytes);
}

std::string digest_of_file(int fd, const Text& path) {
  const py::gil_scoped_release released;
  std::uint64_t size_bytes = 0;
  return digest_file(fd, path, size_bytes);
}

bool has_file_digest(int fd, const Text& path, const Text& digest) {
  const py::gil_scoped_release released;
  return has_digest(fd, path, digest);
}

std::vector<image::ByteRun> differing(const py::buffer& left, const py::object& right,
                                      std::size_t join, std::size_t limit) {
  const auto left_info = left.request();
  py::buffer_info right_info;
  Bytes other;
  if (!right.is_none()) {
    right_info = right.cast<py::buffer>().request();
    other = bytes_of(right_info);
  }
  const auto bytes = bytes_of(left_info);
  const py::gil_scoped_release released;
  return image::differing_runs(bytes, other, join, limit);
}

std::optional<std::size_t> find(const py::buffer& buffer, const py::bytes& wanted,
                                std::size_t from) {
  const auto info = buffer.request();
  const auto bytes = bytes_of(info);
  const std::string_view text = wanted;
  const py::gil_scoped_release released;
  return image::find_bytes(bytes, std::as_bytes(std::span(text)), from);
}

py::dict symbols(const Text& path) {
  const auto found = libc::read_symbols(path, libc::SymbolTables::every);
  py::list list;
  for (const auto& symbol : found.symbols) {
    const char* kind = symbol.kind == libc::SymbolKind::function ? "function"
                       : symbol.kind == libc::SymbolKind::object ? "object"
                                                                 : "tls";
    list.append(py::make_tuple(
        py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
            symbol.name.data(), static_cast<Py_ssize_t>(symbol.name.size()), "surrogateescape")),
        symbol.value, symbol.size_bytes, kind, symbol.local));
  }
  py::dict result;
  result["symbols"] = std::move(list);
  result["first_address"] = found.first_address;
  return result;
}

}  // namespace

void define_offline(py::module_& module) {
  module.def(
      "merge_similar",
      [](const std::vector<std::string>& lines) {
        py::list merged;
        for (const auto& line : merge_similar(lines)) merged.append(py::bytes(line));
        return merged;
      },
      py::arg("lines"),
      "Lines (bytes), where three or more that differ in nothing but numbers, addresses and paths "
      "are one, in the place of the first.");
  module.def(
      "record_schema", [] { return to_python(snapshot::record_schema()); },
      "The maps of a record by name, as lists of their fields: key, type, text, presence");
  module.def(
      "read_record", &read_record, py::arg("fd"), py::arg("path"),
      "A snapshot's record as it is in the file, bytes included, its extents (rows of 32 "
      "bytes, see docs/format.md), the file's length in bytes, and what it takes on disk.\n\n"
      "fd: borrowed; path: for messages. Checks header, notes and record, reads no memory. "
      "Raises NativeError.");
  module.def("verify_memory", &verify_memory, py::arg("fd"), py::arg("path"),
             py::arg("progress") = py::none(),
             "Checks the digest of every extent. progress: called with bytes done and bytes in "
             "all now and then; returning False cancels. Raises NativeError.");
  module.def(
      "relabel",
      [](const Text& path, std::optional<Text> name, std::optional<Text> message) {
        image::relabel(path, {std::move(name), std::move(message)});
      },
      py::arg("path"), py::arg("name") = py::none(), py::arg("message") = py::none(),
      "Gives a snapshot another name or message, in its record. Raises NativeError; the file is "
      "then as it was.");
  module.def("digest64", &digest64_of, py::arg("buffer"), "XXH3-64 of a buffer.");
  module.def("digest_file", &digest_of_file, py::arg("fd"), py::arg("path"),
             "The digest of a whole file in 32 hex digits (docs/format.md). Raises NativeError.");
  module.def(
      "has_digest", &has_file_digest, py::arg("fd"), py::arg("path"), py::arg("digest"),
      "Whether that is the file's digest; also as earlier versions made that of large files. "
      "Raises NativeError.");
  module.def("differing", &differing, py::arg("left"), py::arg("right"), py::arg("join"),
             py::arg("limit"),
             "Offsets and lengths of the runs in which two buffers of one length differ; None for "
             "zeros. Runs with fewer than `join` equal bytes between them are one.");
  module.def("find", &find, py::arg("buffer"), py::arg("wanted"), py::arg("start"),
             "Offset of the first occurrence of bytes at or after `start`, or None.");
  module.def("elf_symbols", &symbols, py::arg("path"),
             "The symbols of an ELF file: a dict with `first_address` and `symbols`, tuples of "
             "name, value, size in bytes, kind (function, object, tls) and whether it is local. "
             "Raises NativeError when the file cannot be read.");
}

}  // namespace ckpt::bindings
