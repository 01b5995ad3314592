// Values of records and requests, to Python and back.
#pragma once

#include <string>

#include <pybind11/pybind11.h>

#include "image/format.hpp"

namespace ckpt::bindings {

/// Texts that are not UTF-8 keep their bytes as Python itself keeps those of paths.
pybind11::object to_python(const image::Json& value);
/// Throws Error (usage) for a type that JSON does not have.
image::Json to_json(const pybind11::handle& value);

/// A text that a function takes from Python: any bytes, as Python itself writes those of paths that
/// are not UTF-8. For std::string such a text is an argument of the wrong type.
struct Text : std::string {};

/// The bytes of a text; false, with a Python error set, where it stands for none.
bool bytes_of_text(const pybind11::handle& text, std::string& bytes);

}  // namespace ckpt::bindings

template <>
struct pybind11::detail::type_caster<ckpt::bindings::Text> {
  PYBIND11_TYPE_CASTER(ckpt::bindings::Text, const_name("str"));

  bool load(handle source, bool /*convert*/) {
    if (PyBytes_Check(source.ptr()) != 0) {
      value.assign(PyBytes_AS_STRING(source.ptr()),
                   static_cast<std::size_t>(PyBytes_GET_SIZE(source.ptr())));
      return true;
    }
    if (PyUnicode_Check(source.ptr()) == 0) return false;
    if (ckpt::bindings::bytes_of_text(source, value)) return true;
    PyErr_Clear();
    return false;
  }
};
