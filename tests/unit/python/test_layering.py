"""Knowledge points one way: in native/ from base up to bindings,
in gdbext/ from errors up to commands and cli.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
from pathlib import Path

import gdbext
import layering
import pytest

ROOT = Path(__file__).resolve().parents[3]


def test_native_layers() -> None:
    assert layering.include_violations(ROOT) == []


def test_rooms_of_state() -> None:
    assert layering.state_violations(ROOT) == []


def test_architecture_is_known_to_arch_only() -> None:
    assert layering.architecture_violations(ROOT) == []


def test_gdb_is_imported_at_the_seam_only() -> None:
    assert layering.gdb_import_violations(ROOT) == []


def test_rooms_of_the_package() -> None:
    assert layering.room_violations(ROOT) == []


def test_the_order_of_rooms_is_one() -> None:
    """Raises CycleError if two of them may know each other."""
    assert {*graphlib.TopologicalSorter(layering.MAY_IMPORT).static_order()} == {
        *layering.MAY_IMPORT
    }


def test_rooms_say_what_they_are_for() -> None:
    for path in sorted({file.parent for file in (ROOT / "gdbext").rglob("*.py")}):
        assert ast.get_docstring(ast.parse((path / "__init__.py").read_text())), path


def test_no_room_hides_a_name_for_scripts() -> None:
    """An imported package `gdbext.diff` would take the place of the function of that name."""
    names = {*gdbext.__all__, *gdbext._INSIDE_GDB}
    assert {path.stem for path in (ROOT / "gdbext").iterdir()} & names == set()


def test_no_test_sleeps() -> None:
    assert layering.sleep_violations(ROOT) == []


def test_the_tree_is_there() -> None:
    """The checks above pass on an empty tree; this one says that they looked at something."""
    assert (ROOT / "native" / "base").is_dir()
    assert list((ROOT / "native").rglob("*.cpp"))


@pytest.mark.parametrize(
    ("path", "line", "complaint"),
    [
        ("native/base/x.hpp", '#include "proc/maps.hpp"', "base may not know proc"),
        ("native/arch/x.hpp", '#include "tracee/ptrace.hpp"', "arch may not know tracee"),
        ("native/tracee/x.cpp", '#include "arch/x86_64/registers.hpp"', "is for arch alone"),
        ("native/proc/x.cpp", '#include "image/reader.hpp"', "proc may not know image"),
        ("native/image/x.cpp", '#include "tracee/ptrace.hpp"', "image may not know tracee"),
        ("native/store/x.cpp", '#include "state/context.hpp"', "store may not know state"),
        ("native/tracee/x.cpp", '#include "store/objects.hpp"', "tracee may not know store"),
        ("native/state/x.cpp", '#include "ids/boundary.hpp"', "state may not know ids"),
        ("native/ids/x.cpp", '  #  include "state/context.hpp"', "ids may not know state"),
        ("native/libc/x.cpp", '#include "ids/boundary.hpp"', "libc may not know ids"),
        ("native/state/x.cpp", '#include "snapshot/capture.hpp"', "state may not know snapshot"),
        ("native/snapshot/x.cpp", '#include "bindings/x.hpp"', "snapshot may not know bindings"),
        ("restart/x.cpp", '#include "bindings/x.hpp"', "restart may not know bindings"),
        ("native/base/x.hpp", "#include <Python.h>", "Python is known to bindings/ only"),
        (
            "native/image/x.hpp",
            "#include <pybind11/pytypes.h>",
            "Python is known to bindings/ only",
        ),
        ("native/state/x.cpp", '#include "memory.hpp"', 'write it as "LAYER/FILE"'),
        ("native/state/x.cpp", '#include "../base/error.hpp"', 'write it as "LAYER/FILE"'),
        ("native/extra/x.cpp", "", "a layer that the order does not know"),
    ],
)
def test_a_planted_include_is_found(tmp_path: Path, path: str, line: str, complaint: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(f"#include <vector>\n{line}\nint x;\n")
    found = layering.include_violations(tmp_path)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(
    ("path", "line", "complaint"),
    [
        (
            "files/x.cpp",
            "state/descriptors/pipes.hpp",
            "state/files may not know state/descriptors",
        ),
        ("x.hpp", "state/memory/vdso.hpp", "state/ may not know state/memory"),
        ("extra/x.cpp", "base/error.hpp", "a directory that the order does not know"),
        ("memory/x.cpp", "state/files/kept_file.hpp", None),
        ("memory/x.cpp", "state/memory/vdso.hpp", None),
        ("memory/x.cpp", "state/context.hpp", None),
    ],
)
def test_a_planted_include_within_state_is_found(
    tmp_path: Path, path: str, line: str, complaint: str | None
) -> None:
    file = tmp_path / "native" / "state" / path
    file.parent.mkdir(parents=True)
    file.write_text(f'#include "{line}"\n')
    found = layering.state_violations(tmp_path)
    assert len(found) == (0 if complaint is None else 1)
    assert complaint is None or complaint in found[0]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("state.registers.rax = 0;", "rax"),
        ("auto at = now.fs_base;", "fs_base"),
        ('json.at("orig_rax");', "orig_rax"),
        ("if (byte == std::byte{0xCC}) stop();", "0xCC"),
        ("if (registers.cs != 0x33) stop();", "0x33"),
        ("constexpr Bytes kCall = {std::byte{0x0f}, std::byte{0x05}};", "0x0f}, std::byte{0x05"),
        ("header.e_machine = EM_X86_64;", "EM_X86_64"),
        ('asm("nop");', "asm"),
        ("#if defined(__x86_64__)", "__x86_64__"),
        ("table.number = SYS_arch_prctl;", "SYS_arch_prctl"),
        ("#include <cpuid.h>", "cpuid.h"),
        ("#include <sys/user.h>", "sys/user.h"),
        ("run(1'000, eax, 2'000);", "eax"),
        ("// the result (rax)", None),
        ("/* rip,\nrsp */", None),
        ('fail("orig_rax is not -1");', None),
        ('auto r = R"(mov %rax, %rdi)";', None),
        ("const auto base = sp() & 0x0f;", None),
        ("namespace fs = std::filesystem;", None),
    ],
)
@pytest.mark.parametrize(
    "place", ["native/state/x.cpp", "restart/preload/x.hpp", "native/arch/x86_64/x.cpp"]
)
def test_a_planted_name_of_the_architecture_is_found(
    tmp_path: Path, place: str, line: str, name: str | None
) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(f"#include <vector>\n{line}\nint x;\n")
    found = layering.architecture_violations(tmp_path)
    if name is None or "arch/" in place:
        assert found == []
    else:
        assert len(found) == 1
        assert name in found[0]


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("native/base/x.cpp", '#include "base/error.hpp"'),
        ("native/arch/x86_64/x.cpp", '#include "arch/x86_64/registers.hpp"'),
        ("native/tracee/x.cpp", '#include "arch/arch.hpp"'),
        ("native/image/x.cpp", '#include "proc/maps.hpp"'),
        ("native/bindings/x.cpp", "#include <pybind11/pybind11.h>"),
        ("native/bindings/x.cpp", '#include "snapshot/capture.hpp"'),
        ("restart/x.cpp", '#include "snapshot/restore.hpp"'),
        ("native/base/x.cpp", '// as in #include "proc/maps.hpp"'),
    ],
)
def test_an_allowed_include_passes(tmp_path: Path, path: str, line: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(f"{line}\n")
    assert layering.include_violations(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "text", "bad"),
    [
        ("gdbext/text/report.py", "import gdb\n", True),
        ("gdbext/text/report.py", "from gdb.types import x\n", True),
        ("gdbext/commands/save.py", "def f():\n    import os, gdb\n", True),
        ("gdbext/text/report.py", "import gdbext.store\nfrom . import gdb_free\n", False),
        ("gdbext/session/life.py", "import gdb\n", False),
        ("gdbext/commands/_base.py", "import gdb\n", False),
    ],
)
def test_a_planted_gdb_import_is_found(tmp_path: Path, path: str, text: str, bad: bool) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert layering.gdb_import_violations(tmp_path) == ([f"{path}: imports gdb"] if bad else [])


@pytest.mark.parametrize(
    ("path", "text", "complaint"),
    [
        ("gdbext/errors.py", "from . import native\n", "errors may not import native"),
        ("gdbext/store/store.py", "from ..text import report\n", "store may not import text"),
        ("gdbext/store/__init__.py", "from ..text import report\n", "store may not import text"),
        (
            "gdbext/text/report.py",
            "from ..offline.snapshot import x\n",
            "text may not import offline",
        ),
        (
            "gdbext/debugger/mi.py",
            "import gdbext.session.auto\n",
            "debugger may not import session",
        ),
        (
            "gdbext/session/x.py",
            "def f():\n    from ..commands import params\n",
            "session may not import commands",
        ),
        (
            "gdbext/session/x.py",
            "if X:\n    from ..commands.restore import x\n",
            "session may not import commands",
        ),
        (
            "gdbext/session/x/y.py",
            "from ...commands import params\n",
            "session may not import commands",
        ),
        ("gdbext/session/x.py", "from .. import commands\n", "session may not import commands"),
        (
            "gdbext/regression/x.py",
            "from .. import errors, native\n",
            "regression may not import native",
        ),
        ("gdbext/cli/x.py", "from gdbext import session\n", "cli may not import session"),
        ("gdbext/cli/x.py", "from gdbext import Snapshot\n", "cli may not import Snapshot"),
        ("gdbext/cli/x.py", "import gdbext\n", "cli may not import all of gdbext"),
        (
            "gdbext/load.py",
            "def f():\n    from gdbext.offline import snapshot\n",
            "load may not import offline",
        ),
        ("gdbext/__init__.py", "from .commands import save\n", "gdbext may not import commands"),
        ("gdbext/extra/x.py", "", "extra is no room that the order knows"),
        ("gdbext/extra.py", "", "extra is no room that the order knows"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, path: str, text: str, complaint: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert layering.room_violations(tmp_path) == [f"{path}: {complaint}"]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gdbext/session/x.py", "from . import y\nfrom .y import z\nfrom ..debugger import mi\n"),
        ("gdbext/session/__init__.py", "from .settings import x\nfrom ..errors import y\n"),
        ("gdbext/cli/program.py", "from .. import __version__, native\nimport os, gdbextra\n"),
        ("gdbext/commands/x.py", "def f():\n    from ..session import auto\n"),
    ],
)
def test_an_allowed_import_passes(tmp_path: Path, path: str, text: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert layering.room_violations(tmp_path) == []


@pytest.mark.parametrize("text", ["import time\ntime.{}(1)\n", "from time import {}\n"])
def test_a_planted_nap_is_found(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tests" / "test_x.py"
    file.parent.mkdir()
    file.write_text(text.format("sleep"))
    assert len(layering.sleep_violations(tmp_path)) == 1


def test_module_shows_its_init_function_alone(native_module: Path) -> None:
    """GDB exports a proc_service of its own, and other extensions may bring
    other versions of libraries.
    """
    nm = subprocess.run(
        ["nm", "-D", "--defined-only", native_module], capture_output=True, text=True, check=True
    )
    assert [line.split()[-1] for line in nm.stdout.splitlines()] == ["PyInit__native"]


def test_module_leaves_libthread_db_to_gdb(native_module: Path) -> None:
    """A second proc_service in GDB's process crashes GDB,
    so the module may not ask for libthread_db.
    """
    nm = subprocess.run(
        ["nm", "-D", "--undefined-only", native_module], capture_output=True, text=True, check=True
    )
    wanted = [line.split()[-1] for line in nm.stdout.splitlines()]
    assert [name for name in wanted if name.startswith(("td_", "ps_"))] == []
