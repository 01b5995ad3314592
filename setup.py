"""Builds the native parts with CMake for `pip install`.

setuptools takes care of the Python package; the commands below hand it what CMake has built: the
native module, libckpt.so, and the programs (PROGRAMS), which are installed as scripts.
All else stands in pyproject.toml.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# Importing setuptools makes its own distutils importable where Python (3.12) has none.
from distutils.command.build_scripts import build_scripts  # isort: skip

ROOT = Path(__file__).resolve().parent
PROGRAMS = ("ckpt-save", "ckpt-restart", "ckpt-record", "ckpt-replay", "ckpt-replay-server")


def cmake_build(build_temp: str) -> Path:
    """Configures and builds in a directory of its own; returns that directory.

    A developer's build/ is left alone: it may be built for another Python. $CMAKE_ARGS is added to
    the configuration, as other packages with CMake do it.
    """
    directory = Path(build_temp).resolve() / "cmake"
    configure = [
        "cmake",
        "-S", str(ROOT),
        "-B", str(directory),
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DCKPT_PYTHON={sys.executable}",
    ]  # fmt: skip
    try:
        import pybind11

        configure.append(f"-Dpybind11_DIR={pybind11.get_cmake_dir()}")
    except (ImportError, AttributeError):
        pass  # CMake finds the system's
    configure += shlex.split(os.environ.get("CMAKE_ARGS", ""))
    if shutil.which("ninja"):
        configure += ["-G", "Ninja"]
    subprocess.run(configure, check=True)
    jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL") or str(os.cpu_count() or 1)
    subprocess.run(
        ["cmake", "--build", str(directory), "--parallel", jobs]
        + ["--target", "_native", "ckpt-preload", *PROGRAMS],
        check=True,
    )
    return directory


class BuildNative(build_ext):
    """Puts the native module beside the package,
    and the library for programs that save themselves.
    """

    def build_extension(self, ext: Extension) -> None:
        directory = cmake_build(self.build_temp)
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        preload = target.parent / "libckpt.so"
        self.copy_file(str(directory / "gdbext" / f"_native{suffix}"), str(target))
        self.copy_file(str(directory / "lib" / "libckpt.so"), str(preload))
        subprocess.run(["strip", "--strip-unneeded", str(target), str(preload)], check=False)


class BuildPrograms(build_scripts):
    """Puts the programs where install_scripts looks: they are binaries, so no line is rewritten."""

    def run(self) -> None:
        build = self.get_finalized_command("build")
        directory = cmake_build(build.build_temp)
        target = Path(self.build_dir)
        target.mkdir(parents=True, exist_ok=True)
        for program in PROGRAMS:
            self.copy_file(str(directory / "bin" / program), str(target / program))
            subprocess.run(["strip", str(target / program)], check=False)

    def get_source_files(self) -> list[str]:
        return []


class BuildPackage(build_py):
    """Leaves out native modules lying about in the source tree: they belong to another build."""

    def find_data_files(self, package: str, src_dir: str) -> list[str]:
        return [f for f in super().find_data_files(package, src_dir) if not f.endswith(".so")]


class NativeDistribution(Distribution):
    """A distribution that always has a native module and programs."""

    def has_ext_modules(self) -> bool:
        return True

    def has_scripts(self) -> bool:
        return True


setup(
    distclass=NativeDistribution,
    ext_modules=[Extension("gdbext._native", sources=[])],
    scripts=list(PROGRAMS),
    cmdclass={
        "build_ext": BuildNative,
        "build_py": BuildPackage,
        "build_scripts": BuildPrograms,
    },
)
