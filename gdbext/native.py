"""Finding and loading the native module and the programs: a build in the checkout, or an
installation.

The module is C++ compiled for one version of Python, and GDB has a Python of its own that need not
be the first `python3` on the user's PATH; so a module for another Python is named as such instead
of "not found".
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, List, Optional

from . import __version__
from .errors import NativeMissing, one_line

if TYPE_CHECKING:
    from . import _native

    core = _native  # the native module, see __getattr__

PACKAGE = Path(__file__).resolve().parent
# The name Python knows the module by; its init function is PyInit__native.
MODULE = "gdbext._native"

_module: Optional[ModuleType] = None


def build_directories(package: Path = PACKAGE) -> List[Path]:
    """Build trees that belong to this package: $CKPT_BUILD_DIR, then build/ of the checkout it lies
    in.
    """
    found = []
    if os.environ.get("CKPT_BUILD_DIR"):
        found.append(Path(os.environ["CKPT_BUILD_DIR"]).expanduser().absolute())
    if (package.parent / "CMakeLists.txt").exists():
        found.append(package.parent / "build")
    return found


def module_directories(package: Path = PACKAGE) -> List[Path]:
    """Where the native module may be, best first: the build of a checkout, else beside the package.
    """
    return [directory / "gdbext" for directory in build_directories(package)] + [package]


def find_module(directories: List[Path]) -> Path:
    """The native module that fits this Python. Raises NativeMissing, which says what to do."""
    suffixes = [suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES if suffix != ".so"]
    for directory in directories:
        for suffix in suffixes:
            path = directory / f"_native{suffix}"
            if path.exists():
                return path
    others = [path for directory in directories for path in sorted(directory.glob("_native.*.so"))]
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if others:
        tag = others[0].name.split(".")[1]
        raise NativeMissing(
            f"{others[0]} is built for another Python ({tag}), but GDB's Python is {mine}: "
            f"build it again with cmake -B build -DCKPT_PYTHON={python_program()} && "
            "cmake --build build"
        )
    if len(directories) > 1:
        raise NativeMissing(
            f"the native module is not built (no {directories[0]}/_native{suffixes[0]}): "
            "cmake -B build && cmake --build build"
        )
    raise NativeMissing(
        f"the native module is missing from {directories[0]} (for GDB's Python {mine}): "
        f"install gdb-ckpt again, in a virtual environment made with {python_program()}"
    )


def python_program() -> str:
    """A guess at the interpreter that belongs to GDB's Python. sys.executable is whatever python3
    is first on PATH.
    """
    return f"{sys.base_exec_prefix}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"


def load() -> ModuleType:
    """Load the native module, once. Raises NativeMissing."""
    global _module
    if _module is not None:
        return _module
    path = find_module(module_directories())
    loader = importlib.machinery.ExtensionFileLoader(MODULE, str(path))
    spec = importlib.util.spec_from_file_location(MODULE, str(path), loader=loader)
    assert spec is not None
    try:
        module = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
    except ImportError as error:
        raise NativeMissing(
            f"{path} cannot be loaded by GDB's Python {sys.version_info[0]}.{sys.version_info[1]}: "
            f"{one_line(str(error))}"
        ) from None
    # "gdb-ckpt 0.1.0": with the name in front, as it stands in the images.
    found = str(module.version()).split()[-1]
    if found != __version__:
        raise NativeMissing(
            f"{path} is version {found}, this package is {__version__}: build or install it again"
        )
    sys.modules[MODULE] = module
    # What `import gdbext._native` would have done besides.
    setattr(sys.modules[__package__], "_native", module)
    _module = module
    return module


def __getattr__(name: str) -> ModuleType:
    """`native.core`: the native module, loaded when it is first used."""
    if name == "core":
        return load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def find_program(name: str, package: Path = PACKAGE) -> Path:
    """The program `name` ("ckpt-restart"), built or installed with this package. Raises
    NativeMissing.

    Installed: .../lib/gdb-ckpt/gdbext has its programs in .../bin, as has
    .../lib/python3.11/site-packages/gdbext in a virtual environment.
    """
    candidates = [directory / "bin" / name for directory in build_directories(package)]
    candidates += [parent / "bin" / name for parent in list(package.parents)[1:5]]
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and candidate.is_file():
            return candidate
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        on_path = Path(directory or ".") / name
        if os.access(on_path, os.X_OK) and on_path.is_file():
            return on_path
    raise NativeMissing(
        f"the program {name} is missing: it is neither at {candidates[0]} nor on PATH"
    )
