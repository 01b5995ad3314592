"""Finds includes and imports that break the order of the layers.

Knowledge points one way (docs/architecture.md): each part of the tree may know the parts listed for
it here and no other. The checks read text only, so they also hold for code that is not built.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

# A directory under native/ (or restart/) and the directories under native/ it may include from.
MAY_INCLUDE: dict[str, frozenset[str]] = {
    "base": frozenset(),
    "arch": frozenset({"base"}),
    "proc": frozenset({"base", "arch"}),
    "image": frozenset({"base", "arch", "proc"}),
    "store": frozenset({"base", "arch", "proc", "image"}),
    "tracee": frozenset({"base", "arch", "proc", "image"}),
    "libc": frozenset({"base", "arch", "proc", "image", "tracee"}),
    "ids": frozenset({"base", "arch", "proc", "image", "tracee", "libc"}),
    "state": frozenset({"base", "arch", "proc", "image", "store", "tracee"}),
    "snapshot": frozenset(
        {"base", "arch", "proc", "image", "store", "tracee", "libc", "ids", "state"}
    ),
    # Recordings know nothing of snapshots, nor these of recordings.
    "recording": frozenset({"base", "arch", "proc", "tracee"}),
    "recorder": frozenset({"base", "arch", "proc", "tracee", "recording"}),
    "replayer": frozenset({"base", "arch", "proc", "tracee", "recording"}),
    "timeline": frozenset({"base", "arch", "proc", "tracee", "recording", "replayer"}),
    "debugserver": frozenset(
        {"base", "arch", "proc", "tracee", "recording", "replayer", "timeline"}
    ),
    "bindings": frozenset(
        {"base", "arch", "proc", "image", "store", "tracee", "libc", "ids", "state", "snapshot"}
    ),
    "restart": frozenset(
        {"base", "arch", "proc", "image", "store", "tracee", "libc", "ids", "state", "snapshot"}
        | {"recording", "recorder", "replayer", "timeline", "debugserver"}
    ),
}

# A directory under native/state/ and those beside it that it may include from. What lies in
# native/state/ itself is for all of them and knows none.
STATE_MAY_INCLUDE: dict[str, frozenset[str]] = {
    "surroundings": frozenset(),
    "time": frozenset({"surroundings"}),
    "ipc": frozenset({"surroundings"}),
    "sockets": frozenset({"surroundings"}),
    "terminal": frozenset({"surroundings"}),
    "files": frozenset({"surroundings"}),
    "rings": frozenset({"surroundings"}),
    "descriptors": frozenset({"surroundings", "ipc", "sockets", "terminal", "files", "rings"}),
    "memory": frozenset({"surroundings", "ipc", "files", "descriptors", "sockets"}),
    "process": frozenset({"surroundings", "files", "memory"}),
}

# A room of gdbext/, or a module beside the rooms, and those that it may import from. "gdbext" is
# gdbext/__init__.py, which finds the names for scripts wherever they are.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "errors": frozenset(),
    "events": frozenset({"errors"}),
    "native": frozenset({"errors"}),
    "publish": frozenset({"errors"}),
    # Written by scripts/record_schema.py.
    "record_types": frozenset(),
    "records": frozenset({"errors", "native", "record_types"}),
    "plugins": frozenset({"events"}),
    "store": frozenset({"errors", "native", "records"}),
    "text": frozenset({"errors", "native", "records", "store"}),
    "offline": frozenset(
        {"errors", "native", "publish", "record_types", "records", "store", "text"}
    ),
    "comparison": frozenset({"errors", "native", "text", "offline"}),
    "debugger": frozenset({"errors", "native", "records", "store", "text"}),
    # It runs in pytest's Python, for which there need be no native module.
    "regression": frozenset({"errors", "publish"}),
    "session": frozenset(
        {"errors", "events", "native", "plugins", "record_types", "records"}
        | {"store", "text", "offline", "comparison", "debugger", "regression"}
    ),
    "commands": frozenset(
        {"errors", "native", "records", "store", "text", "offline", "comparison", "debugger"}
        | {"regression", "session"}
    ),
    "cli": frozenset(
        {"errors", "native", "store", "text", "offline", "comparison", "debugger", "regression"}
    ),
    "load": frozenset({"errors", "native", "debugger", "commands"}),
    "pytest_plugin": frozenset({"regression"}),
    "gdbext": frozenset(
        {"errors", "events", "plugins", "offline", "comparison", "regression", "session"}
    ),
}
# What any of them may have from the package itself.
_OF_PACKAGE = frozenset({"__version__"})

# The Python modules (and the folder) that may import gdb;
# everything else runs under a plain interpreter.
MAY_IMPORT_GDB = frozenset({"gdbext/load.py", "gdbext/commands/_base.py"})
GDB_ADAPTER = "gdbext/session/"

# What only native/arch/ may name: registers, instructions in assembly or by their bytes, and what
# the headers of the kernel, of the C library and of the compiler have for one architecture alone.
_REGISTERS = r"orig_rax|[re][abcd]x|[re][sd]i|[re][sb]p|[re]ip|r[89]|r1[0-5]|[er]flags|[fg]s_base"
_ARCHITECTURE = re.compile(
    rf"\b(?:{_REGISTERS}|asm|__asm__|__x86_64__|__aarch64__|user_(?:fp)?regs_struct|u_debugreg"
    r"|REG_[A-Z0-9]{2,}|gregs|gregset_t|greg_t|fpregset_t|_*get_cpuid\w*|_mm_\w+|__m\d+i?"
    r"|EM_(?:X86_64|AARCH64)|NT_(?:X86|ARM)_\w+|SYS_(?:arch_prctl|modify_ldt)|PTRACE_[GS]ETREGS"
    # int3, cs of 64-bit code, ret, call, jmp; syscall; the end of the address space
    r"|0x(?:cc|33|c3|e8|e9)U?|0x7ffffffff000)\b" r"|0x0f\W+(?:std::byte\W+)?0x05\b",
    re.IGNORECASE,
)
_ARCHITECTURE_HEADER = re.compile(
    r"^(cpuid\.h|[a-z]mmintrin\.h|immintrin\.h"
    r"|asm/prctl\.h|sys/(user|reg|ucontext)\.h|ucontext\.h)$"
)
_COMMENT_OR_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL,
)

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
_PYTHON_HEADER = re.compile(r"^(Python\.h|pybind11/)")


def _sources(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.suffix in {".cpp", ".hpp", ".h", ".c"}:
            yield path


def _state_room(parts: tuple[str, ...]) -> str:
    """The directory under state/ in which `parts`, a path below native/, lies; "" for none."""
    return parts[1] if len(parts) > 2 and parts[0] == "state" else ""


def state_violations(root: Path) -> list[str]:
    """One line for each include between the directories of
    `root`/native/state that breaks their order.
    """
    found = []
    for path in _sources(root / "native" / "state"):
        where = path.relative_to(root)
        room = _state_room(path.relative_to(root / "native").parts)
        if room and room not in STATE_MAY_INCLUDE:
            found.append(f"{where}: state/{room} is a directory that the order does not know")
            continue
        allowed = STATE_MAY_INCLUDE[room] | {room} if room else frozenset[str]()
        for bracket, header in _INCLUDE.findall(path.read_text(encoding="utf-8")):
            known = _state_room(tuple(header.split("/"))) if bracket == '"' else ""
            if known and known not in allowed:
                found.append(f"{where}: includes {header}; state/{room} may not know state/{known}")
    return found


def include_violations(root: Path) -> list[str]:
    """One line for each include under `root`/native and `root`/restart that breaks the order."""
    found = []
    layers = [path for path in sorted((root / "native").glob("*")) if path.is_dir()]
    for directory in [*layers, root / "restart"]:
        layer = directory.name
        if layer not in MAY_INCLUDE:
            found.append(f"native/{layer}: a layer that the order does not know")
            continue
        for path in _sources(directory):
            where = path.relative_to(root)
            for bracket, header in _INCLUDE.findall(path.read_text(encoding="utf-8")):
                if _PYTHON_HEADER.match(header) and layer != "bindings":
                    found.append(f"{where}: includes {header}; Python is known to bindings/ only")
                if bracket == "<":
                    continue
                known = header.partition("/")[0] if "/" in header else ""
                if layer == "restart" and not known and (path.parent / header).exists():
                    continue
                if known not in MAY_INCLUDE:
                    found.append(f'{where}: includes "{header}"; write it as "LAYER/FILE"')
                elif known == "arch" and layer != "arch" and header.count("/") > 1:
                    found.append(
                        f"{where}: includes {header}; what one architecture has is for arch alone"
                    )
                elif known != layer and known not in MAY_INCLUDE[layer]:
                    found.append(f"{where}: includes {header}; {layer} may not know {known}")
    return found


def _code_of(text: str) -> str:
    """`text` without comments, and without texts in quotes but the names of registers."""

    def shorten(match: re.Match[str]) -> str:
        lines = "\n" * match.group().count("\n")
        if match.group().startswith("/"):
            return lines
        is_register = re.fullmatch(f'"(?:{_REGISTERS})"', match.group())
        return match.group() if is_register else f'""{lines}'

    return _COMMENT_OR_TEXT.sub(shorten, text)


def architecture_violations(root: Path) -> list[str]:
    """One line for each place outside `root`/native/arch that knows the
    processor's architecture.
    """
    found = []
    for path in [*_sources(root / "native"), *_sources(root / "restart")]:
        where = path.relative_to(root)
        if where.parts[:2] == ("native", "arch"):
            continue
        text = path.read_text(encoding="utf-8")
        for _, header in _INCLUDE.findall(text):
            if _ARCHITECTURE_HEADER.match(header):
                found.append(f"{where}: includes {header}, which is for native/arch alone")
        for number, line in enumerate(_code_of(text).splitlines(), 1):
            names = [match.group() for match in _ARCHITECTURE.finditer(line)]
            if names and not line.lstrip().startswith("#include"):
                found.append(f"{where}:{number}: names {names[0]}, which is for native/arch alone")
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


def gdb_import_violations(root: Path) -> list[str]:
    """One line for each module of the package that imports gdb and should not."""
    found = []
    for path in sorted((root / "gdbext").rglob("*.py")):
        where = path.relative_to(root).as_posix()
        names = _imported(ast.parse(path.read_text(encoding="utf-8"), where))
        allowed = where in MAY_IMPORT_GDB or where.startswith(GDB_ADAPTER)
        if not allowed and any(name.partition(".")[0] == "gdb" for name in names):
            found.append(f"{where}: imports gdb")
    return found


def _package_imports(path: Path, tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """What a module of the package imports of the package, relative or not, wherever the import
    stands: the parts of its name behind "gdbext". `path` begins with gdbext.
    """
    package = path.parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            names = [(*module, alias.name) for alias in node.names]
        else:
            continue
        yield from (name[1:] for name in names if name[0] == "gdbext")


def room_violations(root: Path) -> list[str]:
    """One line for each import in the package from a room that the importing one may not know."""
    found = []
    for path in sorted((root / "gdbext").rglob("*.py")):
        where = path.relative_to(root)
        room = where.parts[1] if len(where.parts) > 2 else where.stem.replace("__init__", "gdbext")
        if room not in MAY_IMPORT:
            found.append(f"{where}: {room} is no room that the order knows")
            continue
        for name in _package_imports(
            where, ast.parse(path.read_text(encoding="utf-8"), str(where))
        ):
            # What the native module gives is known to who knows the one that loads it.
            target = name[0].replace("_native", "native") if name else "all of gdbext"
            known = MAY_IMPORT[room] | _OF_PACKAGE | {room}
            if target not in known:
                found.append(f"{where}: {room} may not import {target}")
    return found


def sleep_violations(root: Path) -> list[str]:
    """One line for each test that sleeps: a test waits for an event, never for time to pass."""
    found = []
    for path in sorted((root / "tests").rglob("*.py")):
        where = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"), where)
        for node in ast.walk(tree):
            direct = isinstance(node, ast.Attribute) and node.attr == "sleep"
            from_time = isinstance(node, ast.ImportFrom) and any(
                a.name == "sleep" for a in node.names
            )
            if direct or from_time:
                found.append(f"{where}:{node.lineno}: sleeps")
    return found
