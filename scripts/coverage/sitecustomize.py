"""Measures gdbext in each Python that has this directory on PYTHONPATH and the variable
CKPT_TEST_COVERAGE, the configuration of coverage.py, in its environment: GDB's Python, that of
pytest, and those that tests start. Python imports a module of this name when it starts.

Programs under test are Python programs, too, and are left alone: except in GDB and in programs of
the package, measuring begins when gdbext is imported.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.abc
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn


def _begin(configuration: str) -> None:
    # Not needed by whoever only reads the types here.
    coverage: Any = importlib.import_module("coverage")
    os.environ["COVERAGE_PROCESS_START"] = configuration
    measured = coverage.process_startup()
    del os.environ["COVERAGE_PROCESS_START"]
    real_exit, real_exec = os._exit, os.execve

    def write_native() -> None:
        """gdbext/session/stopreason.py may let GDB end without exit handlers of the native kind."""
        native = sys.modules.get("gdbext._native")
        if native is not None and hasattr(native, "_write_coverage"):
            native._write_coverage()

    def write_and_exit(status: int) -> NoReturn:
        if measured is not None:
            measured.stop()
            measured.save()
        write_native()
        real_exit(status)

    def write_and_exec(*program: Any) -> NoReturn:
        if measured is not None:
            measured.stop()
            measured.save()
        real_exec(*program)

    atexit.register(write_native)
    os._exit = write_and_exit
    os.execve = write_and_exec  # type: ignore[assignment]


class _WhenImported(importlib.abc.MetaPathFinder):
    """Finds no module, but hears what is imported."""

    def __init__(self, configuration: str) -> None:
        self._configuration = configuration

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> Any:
        if name.partition(".")[0] == "gdbext":
            sys.meta_path.remove(self)
            _begin(self._configuration)
        return None


def _watch() -> None:
    configuration = os.environ.get("CKPT_TEST_COVERAGE")
    if not configuration:
        return
    own = any("/gdbext/regression/" in word for word in getattr(sys, "orig_argv", [])[1:2])
    if own or os.path.basename(os.readlink("/proc/self/exe")).startswith("gdb"):
        _begin(configuration)
    else:
        sys.meta_path.insert(0, _WhenImported(configuration))


_watch()
