#include "bindings/convert.hpp"

#include "base/error.hpp"

namespace ckpt::bindings {

namespace py = pybind11;
using image::Json;

namespace {

// Paths and arguments are bytes to the kernel, and whatever a snapshot holds may be any bytes: as
// Python itself does, keep what is not UTF-8.
py::object text_to_python(const std::string& text) {
  return py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape"));
}

}  // namespace

py::object to_python(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return py::none();
    case Json::value_t::boolean: return py::bool_(value.get<bool>());
    case Json::value_t::number_integer: return py::int_(value.get<std::int64_t>());
    case Json::value_t::number_unsigned: return py::int_(value.get<std::uint64_t>());
    case Json::value_t::number_float: return py::float_(value.get<double>());
    case Json::value_t::string: return text_to_python(value.get_ref<const std::string&>());
    case Json::value_t::array: {
      py::list list;
      for (const auto& item : value) list.append(to_python(item));
      return list;
    }
    case Json::value_t::object: {
      py::dict dict;
      for (const auto& [key, item] : value.items()) dict[text_to_python(key)] = to_python(item);
      return dict;
    }
    case Json::value_t::binary: {
      const auto& bytes = value.get_binary();
      return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    default: return py::none();
  }
}

bool bytes_of_text(const py::handle& text, std::string& bytes) {
  const auto encoded = py::reinterpret_steal<py::object>(
      PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogateescape"));
  if (!encoded) return false;
  bytes.assign(PyBytes_AS_STRING(encoded.ptr()),
               static_cast<std::size_t>(PyBytes_GET_SIZE(encoded.ptr())));
  return true;
}

namespace {

std::string text_of(const py::handle& value) {
  std::string bytes;
  if (!bytes_of_text(value, bytes)) throw py::error_already_set();
  return bytes;
}

}  // namespace

Json to_json(const py::handle& value) {
  if (value.is_none()) return nullptr;
  if (py::isinstance<py::bool_>(value)) return value.cast<bool>();
  if (py::isinstance<py::int_>(value)) {
    const int negative = PyObject_RichCompareBool(value.ptr(), py::int_(0).ptr(), Py_LT);
    if (negative == 1) return value.cast<std::int64_t>();
    return value.cast<std::uint64_t>();
  }
  if (py::isinstance<py::float_>(value)) return value.cast<double>();
  if (py::isinstance<py::str>(value)) return text_of(value);
  if (py::isinstance<py::dict>(value)) {
    Json out = Json::object();
    for (const auto& [key, item] : py::reinterpret_borrow<py::dict>(value))
      out[text_of(key)] = to_json(item);
    return out;
  }
  if (py::isinstance<py::list>(value) || py::isinstance<py::tuple>(value)) {
    Json out = Json::array();
    for (const auto& item : py::reinterpret_borrow<py::sequence>(value))
      out.push_back(to_json(item));
    return out;
  }
  throw Error(ErrorKind::usage, "a value of a type that JSON does not have");
}

}  // namespace ckpt::bindings
