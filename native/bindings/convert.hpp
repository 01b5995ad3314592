// Values of records and requests, to Python and back.
#pragma once

#include <pybind11/pybind11.h>

#include "image/format.hpp"

namespace ckpt::bindings {

/// Texts that are not UTF-8 keep their bytes as Python itself keeps those of paths.
pybind11::object to_python(const image::Json& value);
/// Throws Error (usage) for a type that JSON does not have.
image::Json to_json(const pybind11::handle& value);

}  // namespace ckpt::bindings
