// Functions of Python's that the core calls.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/pybind11.h>

#include <exception>
#include <functional>
#include <string>
#include <utility>

#include "base/types.hpp"
#include "state/context.hpp"

namespace ckpt::bindings {

namespace py = pybind11;

// The core must not see exceptions of Python's: they are kept and thrown again at the end.
class Callback {
 public:
  explicit Callback(py::object function) : function_(std::move(function)) {}

  [[nodiscard]] state::Progress progress() {
    if (function_.is_none()) return {};
    return [this](std::uint64_t done, std::uint64_t total) {
      return guarded(false, [&] { return function_(done, total).cast<bool>(); });
    };
  }
  [[nodiscard]] std::function<std::string(Addr, std::uint64_t)> reader() {
    if (function_.is_none()) return {};
    return [this](Addr address, std::uint64_t size) {
      return guarded(std::string(),
                     [&] { return std::string(py::bytes(function_(address.value, size))); });
    };
  }
  void rethrow() {
    if (problem_) std::rethrow_exception(problem_);
  }

 private:
  template <typename T, typename Function>
  T guarded(T otherwise, Function function) {
    if (problem_) return otherwise;
    try {
      return function();
    } catch (...) {
      problem_ = std::current_exception();
      return otherwise;
    }
  }

  py::object function_;
  std::exception_ptr problem_;
};

}  // namespace ckpt::bindings
