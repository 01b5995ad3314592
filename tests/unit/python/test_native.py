"""Finding the native module and the programs, without loading anything."""

from __future__ import annotations

import importlib.machinery
import os
from pathlib import Path

import pytest
from gdbext import native
from gdbext.errors import NativeMissing

SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


@pytest.fixture(autouse=True)
def no_build_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CKPT_BUILD_DIR", raising=False)


def checkout(root: Path) -> Path:
    """A checkout's package directory."""
    package = root / "gdbext"
    package.mkdir(parents=True)
    (root / "CMakeLists.txt").write_text("")
    return package


def installed(root: Path) -> Path:
    """The package in a virtual environment."""
    package = root / "lib" / "python3.11" / "site-packages" / "gdbext"
    package.mkdir(parents=True)
    return package


def touch(path: Path, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    path.chmod(mode)
    return path


def test_a_checkouts_build_comes_first(tmp_path: Path) -> None:
    package = checkout(tmp_path)
    beside = touch(package / f"_native{SUFFIX}")
    assert native.find_module(native.module_directories(package)) == beside
    built = touch(tmp_path / "build" / "gdbext" / f"_native{SUFFIX}")
    assert native.find_module(native.module_directories(package)) == built


def test_another_build_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = checkout(tmp_path / "work")
    built = touch(tmp_path / "other" / "gdbext" / f"_native{SUFFIX}")
    monkeypatch.setenv("CKPT_BUILD_DIR", str(tmp_path / "other"))
    assert native.find_module(native.module_directories(package)) == built


def test_an_installation(tmp_path: Path) -> None:
    package = installed(tmp_path)
    module = touch(package / f"_native{SUFFIX}")
    assert native.module_directories(package) == [package]
    assert native.find_module(native.module_directories(package)) == module


def test_what_to_do_when_it_is_not_built(tmp_path: Path) -> None:
    with pytest.raises(NativeMissing, match="not built.*cmake -B build && cmake --build build"):
        native.find_module(native.module_directories(checkout(tmp_path)))


def test_what_to_do_when_it_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(NativeMissing, match="missing.*install gdb-ckpt again"):
        native.find_module(native.module_directories(installed(tmp_path)))


def test_one_for_another_python_is_named(tmp_path: Path) -> None:
    package = checkout(tmp_path)
    touch(tmp_path / "build" / "gdbext" / "_native.cpython-37m-x86_64-linux-gnu.so")
    with pytest.raises(
        NativeMissing, match=r"another Python \(cpython-37m.*CKPT_PYTHON="
    ) as caught:
        native.find_module(native.module_directories(package))
    assert "\n" not in str(caught.value)


def test_programs_of_a_build_and_of_an_installation(tmp_path: Path) -> None:
    package = checkout(tmp_path / "work")
    built = touch(tmp_path / "work" / "build" / "bin" / "ckpt-restart", 0o755)
    assert native.find_program("ckpt-restart", package) == built
    package = installed(tmp_path / "venv")
    program = touch(tmp_path / "venv" / "bin" / "ckpt-restart", 0o755)
    assert native.find_program("ckpt-restart", package) == program


def test_a_system_wide_installation(tmp_path: Path) -> None:
    package = tmp_path / "usr" / "lib" / "gdb-ckpt" / "gdbext"
    package.mkdir(parents=True)
    program = touch(tmp_path / "usr" / "bin" / "ckpt-restart", 0o755)
    assert native.find_program("ckpt-restart", package) == program


def test_a_program_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = touch(tmp_path / "path" / "ckpt-restart", 0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    assert native.find_program("ckpt-restart", installed(tmp_path / "venv")) == program


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if os.geteuid() != 0:
        touch(tmp_path / "ckpt-restart", 0o644)  # not executable
    with pytest.raises(NativeMissing, match="ckpt-restart is missing"):
        native.find_program("ckpt-restart", installed(tmp_path / "venv"))
