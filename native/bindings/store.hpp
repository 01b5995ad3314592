// The rules of the store (native/store), for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace ckpt::bindings {

void define_store(pybind11::module_& module);

}  // namespace ckpt::bindings
