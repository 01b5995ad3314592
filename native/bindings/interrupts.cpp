#include "bindings/interrupts.hpp"

#include <ctime>
#include <optional>
#include <utility>

namespace ckpt::bindings {

namespace py = pybind11;

namespace {

int held = 0;
// One came before they were held and was to be raised by Python.
bool earlier = false;

sigset_t only_interrupts() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  return set;
}

// No code in Python may run between the interrupt and the return to GDB, or it would be raised
// there.
py::object keeping_interrupts(py::function handler) {
  return py::cpp_function([handler = std::move(handler)](const py::args& arguments) {
    try {
      handler(*arguments);
    } catch (const py::error_already_set& error) {
      if (!error.matches(PyExc_KeyboardInterrupt)) throw;
      PyErr_SetInterrupt();
    }
  });
}

py::object uninterrupted(py::function function) {
  return py::cpp_function([function = std::move(function)](const py::args& arguments) {
    const HeldInterrupts holding;
    return function(*arguments);
  });
}

struct Section {
  std::optional<HeldInterrupts> holding;
};

}  // namespace

HeldInterrupts::HeldInterrupts() {
  const sigset_t set = only_interrupts();
  pthread_sigmask(SIG_BLOCK, &set, &before_);
  if (PyErr_CheckSignals() != 0) {
    if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) == 0) {
      pthread_sigmask(SIG_SETMASK, &before_, nullptr);
      throw py::error_already_set();
    }
    PyErr_Clear();
    earlier = true;
  }
  ++held;
}

HeldInterrupts::~HeldInterrupts() {
  if (--held == 0 && std::exchange(earlier, false)) PyErr_SetInterrupt();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool HeldInterrupts::take() {
  if (held == 0) return false;
  bool taken = std::exchange(earlier, false);
  const sigset_t set = only_interrupts();
  const timespec no_time{};
  while (sigtimedwait(&set, nullptr, &no_time) == SIGINT) taken = true;
  return taken;
}

void define_interrupts(py::module_& module) {
  module.def("keeping_interrupts", &keeping_interrupts, py::arg("handler"),
             "A function that calls `handler`, and leaves a Ctrl-C in it (KeyboardInterrupt) "
             "pending for GDB, which prints and forgets what a handler of events raises.");
  module.def("uninterrupted", &uninterrupted, py::arg("function"),
             "A function that calls `function`, and has a Ctrl-C wait until that has returned.");
  module.def("take_interrupt", &HeldInterrupts::take,
             "Whether a Ctrl-C waits, which is then forgotten. False where none has to wait.");
  py::class_<Section>(module, "InterruptsHeld",
                      "A context manager: a Ctrl-C waits until it is left.")
      .def(py::init<>())
      .def("__enter__", [](Section& section) { section.holding.emplace(); })
      .def("__exit__",
           [](Section& section, const py::args& /*error*/) { section.holding.reset(); });
}

}  // namespace ckpt::bindings
