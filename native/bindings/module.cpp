// The Python face of the core: conversion, and nothing decided here.
#include <pybind11/functional.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>

#include "base/coverage.hpp"
#include "base/error.hpp"
#include "base/fault.hpp"
#include "base/io.hpp"
#include "bindings/callback.hpp"
#include "bindings/convert.hpp"
#include "bindings/interrupts.hpp"
#include "bindings/offline.hpp"
#include "bindings/store.hpp"
#include "ids/boundary.hpp"
#include "snapshot/capture.hpp"
#include "snapshot/describe.hpp"
#include "snapshot/kernel_pages.hpp"
#include "snapshot/restore.hpp"
#include "snapshot/snapshot.hpp"
#include "state/terminal/terminal.hpp"
#include "state/terminal/terminal_input.hpp"
#include "tracee/debug_registers.hpp"
#include "tracee/stop_clock.hpp"

namespace py = pybind11;

namespace {

using ckpt::Error;
using ckpt::ErrorKind;
using ckpt::bindings::Callback;
using ckpt::bindings::Text;
using ckpt::bindings::to_json;
using ckpt::bindings::to_python;
using ckpt::image::Json;

// Requests come from our own Python: a wrong member is the caller's mistake.
template <typename Function>
auto reading_request(Function function) {
  try {
    return function();
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::usage, std::string("malformed request: ") + error.what());
  }
}

ckpt::state::RestoreOptions restore_options(const Json& json) {
  ckpt::state::RestoreOptions options;
  options.store = json.value("store", "");
  const auto files = json.value("files", "auto");
  using Mode = ckpt::state::FilesMode;
  if (files == "auto")
    options.files = Mode::automatic;
  else if (files == "real")
    options.files = Mode::real;
  else if (files == "sandbox")
    options.files = Mode::sandbox;
  else if (files == "private")
    options.files = Mode::private_copies;
  else if (files == "strict")
    options.files = Mode::strict;
  else
    throw Error(ErrorKind::usage, "files: one of auto, real, sandbox, private, strict");
  if (json.contains("file"))
    for (const auto& pair : json.at("file")) options.replaced_files[pair.at(0)] = pair.at(1);
  if (json.contains("env")) options.environment = json.at("env").get<std::vector<std::string>>();
  if (json.contains("ending")) options.ending = json.at("ending").get<std::set<ckpt::Tid>>();
  const char* const names[] = {"stdin", "stdout", "stderr"};  // NOLINT(modernize-avoid-c-arrays)
  for (int stream = 0; stream < 3; ++stream)
    if (json.contains(names[stream]) && !json.at(names[stream]).is_null())
      options.streams[stream] = json.at(names[stream]);
  return options;
}

py::object capture(const py::dict& request_dict, py::object progress, py::object read_code) {
  Callback on_progress(std::move(progress));
  Callback on_code(std::move(read_code));
  const auto request = reading_request([&] {
    const Json json = to_json(request_dict);
    ckpt::snapshot::CaptureRequest out;
    out.pid = json.at("pid");
    out.output = json.at("output");
    out.store = json.at("store");
    out.file_limit_bytes = json.at("file_limit");
    out.strict = json.at("strict");
    out.overwrite = json.value("overwrite", false);
    out.name = json.value("name", "");
    out.message = json.value("message", "");
    out.stop = json.value("stop", "");
    out.place = json.value("place", "");
    out.parent =
        ckpt::image::decode<std::optional<ckpt::snapshot::Parent>>(json.value("parent", Json()));
    for (const auto& item : json.at("threads"))
      out.threads.push_back({item.at("tid"), item.value("number", 0),
                             item.value("pthread", std::uint64_t{0}),
                             item.value("held_signal", 0)});
    if (json.contains("selected") && !json.at("selected").is_null()) {
      out.selected_lwp = json.at("selected").value("tid", 0);
      out.selected_frame = json.at("selected").value("frame", 0);
    }
    out.tracer_options = ckpt::snapshot::debugger_options(json.value("attached", false));
    out.findings = ckpt::image::decode<std::vector<ckpt::state::Finding>>(
        json.value("findings", Json::array()));
    out.session = json.value("session", Json());
    out.terminal = json.value("terminal", Json());
    const Json input = json.value("input", Json::object());
    out.input.ours_is_the_programs = input.value("ours_is_the_programs", false);
    out.input.look_only = input.value("look_only", false);
    out.input.owed = ckpt::state::TypedInput::read(input.value("owed", Json::array()));
    return out;
  });
  auto full = request;
  full.progress = on_progress.progress();
  full.read_code = on_code.reader();
  ckpt::snapshot::CaptureResult result;
  try {
    result = ckpt::snapshot::capture(full);
  } catch (...) {
    on_progress.rethrow();
    on_code.rethrow();
    throw;
  }
  on_code.rethrow();
  return to_python({{"path", result.path},
                    {"file_bytes", result.file_bytes},
                    {"seconds", result.seconds},
                    {"threads", result.threads},
                    {"fidelity", ckpt::image::encode(result.fidelity)}});
}

std::string proxied_vdso_kernel(const Text& path) {
  const ckpt::snapshot::Snapshot snapshot(path);
  return ckpt::snapshot::needs_vdso_proxy(snapshot) ? ckpt::snapshot::vdso_kernel(snapshot) : "";
}

// Each call about one restore reads the same file, even if its name is given to another one
// meanwhile.
ckpt::image::Reader reader_of(const std::string& path, std::optional<int> fd) {
  if (!fd) return ckpt::image::Reader::open(path);
  return ckpt::image::Reader::from_fd(ckpt::duplicate(*fd, path), path);
}

py::object describe(const Text& path, std::optional<int> fd) {
  return to_python(ckpt::snapshot::describe(reader_of(path, fd)));
}

py::object validate(const Text& path, const py::dict& options_dict, py::object progress,
                    std::optional<int> fd) {
  Callback on_progress(std::move(progress));
  const auto options = reading_request([&] { return restore_options(to_json(options_dict)); });
  using ckpt::snapshot::IdMode;
  const bool saved_ids =
      reading_request([&] { return to_json(options_dict).value("ids", "auto") == "saved"; });
  ckpt::snapshot::check_ids(saved_ids ? IdMode::saved : IdMode::automatic);
  const bool keep_clock =
      reading_request([&] { return to_json(options_dict).value("clock", "auto") == "keep"; });
  using ckpt::state::ClockMode;
  ckpt::state::check_clocks(keep_clock ? ClockMode::keep : ClockMode::automatic);
  const ckpt::snapshot::Snapshot snapshot(reader_of(path, fd));
  ckpt::snapshot::Checked checked;
  try {
    checked = ckpt::snapshot::check(snapshot, options, true, on_progress.progress());
  } catch (...) {
    on_progress.rethrow();
    throw;
  }
  Json libraries = Json::array();
  for (const auto& library : checked.libraries)
    libraries.push_back({{"path", library.path}, {"copy", library.copy}});
  return to_python({{"executable", checked.executable},
                    {"executable_replaced", checked.executable_replaced},
                    {"libraries", std::move(libraries)},
                    {"hidden", checked.hidden},
                    {"notes", checked.notes}});
}

py::object finish(const Text& path, const std::vector<ckpt::Tid>& tids, std::optional<int> fd) {
  const ckpt::snapshot::Snapshot snapshot(reader_of(path, fd));
  const auto held = ckpt::snapshot::finish(snapshot, tids);
  ckpt::snapshot::kill_with_tracer(tids.front());
  Json threads = Json::array();
  bool kept = true;
  for (std::size_t i = 0; i < tids.size(); ++i) {
    const auto& saved = snapshot.saved.threads[i];
    kept = kept && saved.remembered == tids[i];
    threads.push_back({{"saved_tid", saved.tid}, {"tid", tids[i]}, {"number", saved.number}});
  }
  Json signals = Json::array();
  for (const auto& one : held) signals.push_back({{"tid", one.tid}, {"signal", one.signal}});
  return to_python({{"threads", std::move(threads)},
                    {"held", std::move(signals)},
                    {"ids", kept ? "saved" : "virtual"}});
}

std::map<ckpt::Tid, ckpt::Tid> remembered_ids(ckpt::Tid pid) {
  const ckpt::proc::ProcessDir process(pid);
  const auto boundary =
      ckpt::ids::find_boundary(process.mappings(), ckpt::tracee::Memory(process.through()));
  std::map<ckpt::Tid, ckpt::Tid> ids;
  for (const auto tid : process.threads()) ids[tid] = boundary ? boundary->remembered(tid) : tid;
  return ids;
}

std::optional<std::pair<bool, bool>> debug_registers() {
  const auto seen = ckpt::tracee::try_debug_registers();
  if (!seen) return std::nullopt;
  return std::pair(seen->data, seen->code);
}

void write_terminal(int fd, const py::dict& modes) {
  ckpt::state::write_terminal(fd, to_json(modes));
}

void define_stop_clock(py::module_& module) {
  using ckpt::tracee::StopClock;
  py::class_<StopClock>(
      module, "StopClock",
      "Sends a SIGSTOP to one thread of a process when that process has run for a given time. Its "
      "thread ends when the object is gone.")
      .def(py::init([](double every_s) {
             constexpr double kThirtyYearsS = 1e9;
             return std::make_unique<StopClock>(std::chrono::nanoseconds(
                 static_cast<std::int64_t>(std::min(every_s, kThirtyYearsS) * 1e9)));
           }),
           py::arg("every_s"), "every_s: in seconds. Raises NativeError.")
      .def("arm", &StopClock::arm, py::arg("pid"), py::arg("tid"),
           "The process runs: its time counts from now on. tid: the thread that gets the signal.")
      .def("disarm", &StopClock::disarm,
           "The process has stopped, or must not be interrupted: nothing is sent any more. Returns "
           "whether it was armed.")
      .def("begin_anew", &StopClock::begin_anew, "There was a save: the full time is left again.")
      .def("seen", &StopClock::seen, "The signal was seen, or cannot be seen any more.")
      .def_property_readonly("on_its_way", &StopClock::on_its_way,
                             "Whether a signal was sent that seen() was not called for.");
}

}  // namespace

PYBIND11_MODULE(_native, module) {
  module.doc() =
      "The native core of gdb-ckpt. Everything that stops, reads or changes a process must be "
      "called on the thread that traces it; inside GDB that is GDB's main thread.";

  static py::object error_type = py::reinterpret_steal<py::object>(PyErr_NewExceptionWithDoc(
      "gdbext._native.NativeError",
      "A failure of the core: one line that says what failed, on what, and why.\n\n"
      "kind: str, the class of the failure; errno: int, of the failed call, 0 if none.",
      PyExc_Exception, nullptr));
  module.attr("NativeError") = error_type;
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const Error& error) {
      py::object value = error_type(to_python(Json(std::string(error.what()))));  // any bytes
      value.attr("kind") = std::string(ckpt::kind_name(error.kind()));
      value.attr("errno") = error.error_number();
      PyErr_SetObject(error_type.ptr(), value.ptr());
    }
  });

  module.def("capture", &capture, py::arg("request"), py::arg("progress") = py::none(),
             py::arg("read_code") = py::none(),
             "Saves a stopped process to a file.\n\n"
             "request: dict; see docs/architecture.md. progress: called with bytes done and bytes "
             "in all now and then; returning False cancels. read_code: called with address and "
             "length in bytes, returns the program's own bytes where breakpoints stand.\n"
             "Precondition: every thread of the process is stopped and traced by this thread.\n"
             "Returns a dict: path, file_bytes, seconds, threads, fidelity. Raises NativeError; "
             "the process is then as it was and there is no file.");
  module.def("describe", &describe, py::arg("path"), py::arg("fd") = py::none(),
             "The record of a snapshot as a dict. Checks header and notes, reads no memory. "
             "fd: the open file, where it is not to be opened by its path. Raises NativeError.");
  module.def(
      "proxied_vdso_kernel", &proxied_vdso_kernel, py::arg("path"),
      "The release of the kernel that a snapshot's vdso is of, if a restore here has it call "
      "this kernel's; else an empty text. Raises NativeError when no restore is possible.");
  module.def("validate", &validate, py::arg("path"), py::arg("options"),
             py::arg("progress") = py::none(), py::arg("fd") = py::none(),
             "Checks everything about a restore that can be checked without starting anything.\n\n"
             "Returns a dict: executable, executable_replaced, libraries, notes. "
             "Raises NativeError.");
  module.def("finish", &finish, py::arg("path"), py::arg("tids"), py::arg("fd") = py::none(),
             "Gives the threads of a parked process their saved registers, extended state, signal "
             "masks and held signals, and makes it die with the debugger.\n\n"
             "tids: the threads as the helper reported them.\n"
             "Precondition: every thread is stopped and traced by this thread.\n"
             "Returns a dict: threads, held (signals the debugger must deliver), ids.");
  module.def("remembered_ids", &remembered_ids, py::arg("pid"),
             "The threads of a process that may be traced: kernel id -> the id that the program "
             "itself is shown, which differs after a restore with new ids.");
  module.def(
      "undo_interruptions", &ckpt::snapshot::undo_needless_interruptions, py::arg("pid"),
      py::arg("tids"),
      "Lets system calls go on that one of our stops has ended with EINTR although nothing "
      "happened, for stops that were not asked for.\n\n"
      "Precondition: the threads are stopped and traced by this thread. Raises NativeError.");
  module.def("set_exit_kill", &ckpt::snapshot::kill_with_tracer, py::arg("pid"),
             "Makes a traced, stopped process die with its tracer.");
  module.def("write_terminal", &write_terminal, py::arg("fd"), py::arg("modes"),
             "Sets terminal modes (dict: iflag, oflag, cflag, lflag, cc), also from the "
             "background.");
  module.def("may_type", &ckpt::state::may_type, py::arg("fd"),
             "Whether the kernel lets us type on a terminal. Nothing is typed.");
  module.def(
      "take_input", [](int fd) { return py::bytes(ckpt::state::take_input(fd)); }, py::arg("fd"),
      "Takes what was typed on a terminal and not read. Raises NativeError.");
  module.def(
      "type_input",
      [](int fd, const py::bytes& input, bool echo) { ckpt::state::type_input(fd, input, echo); },
      py::arg("fd"), py::arg("input"), py::arg("echo"),
      "Types on a terminal what take_input has returned. Raises NativeError.");
  module.def(
      "type_first",
      [](int fd, const py::bytes& input, bool echo) { ckpt::state::type_first(fd, input, echo); },
      py::arg("fd"), py::arg("input"), py::arg("echo"),
      "The same, before what has been typed there since. Raises NativeError.");
  module.def(
      "cannot_type",
      [](const py::bytes& input, bool no_terminal) {
        return to_python(ckpt::state::cannot_type(input, no_terminal));
      },
      py::arg("input"), py::arg("no_terminal"),
      "What to tell a user when such input cannot be typed on the program's terminal.");
  module.def(
      "debug_registers", &debug_registers,
      "Whether watchpoints and breakpoints of the hardware stop a program on this machine, found "
      "out by trying in a child: a pair of bools, or None when it could not be found out.");
  define_stop_clock(module);
  ckpt::bindings::define_interrupts(module);
  ckpt::bindings::define_offline(module);
  ckpt::bindings::define_store(module);
  module.def(
      "fault_arm",
      [](const std::optional<std::string>& name) { ckpt::arm_fault(name.value_or("")); },
      py::arg("name"), "Arms one fault point, or none. For tests.");
  module.def(
      "fault_names",
      [] {
        std::vector<std::string> names;
        for (const auto name : ckpt::fault_names()) names.emplace_back(name);
        return names;
      },
      "The names of all fault points.");
  module.def(
      "version", [] { return std::string(ckpt::image::kCreator); },
      "Name and version of what writes snapshots.");
#ifdef CKPT_COVERAGE
  module.def("_write_coverage", &ckpt::write_coverage, "For scripts/coverage.");
#endif
}
