// What Python needs to look into a snapshot without a process.
#pragma once

#include <pybind11/pybind11.h>

namespace ckpt::bindings {

void define_offline(pybind11::module_& module);

}  // namespace ckpt::bindings
