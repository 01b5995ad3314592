"""The debugger's own state: read for a save, made again for a restore. What it is, is in
`debugstate`.

Nothing here fails a save or a restore: a breakpoint that cannot be made again is a note to the
user, who still has the program.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import gdb

from ..debugger import gdbtext
from ..debugger.debugstate import (
    TERMINAL_VARIABLES,
    DebugState,
    Display,
    Signal,
    SymbolFile,
    runs_shell,
)
from . import breakpoints, inferior
from .settings import (
    attempt,
    exact,
    language,
    parameter,
    problem_with,
    quietly,
    quoted,
    select_level,
    selected_level,
    setting,
    shown,
    unchosen,
)

# -- reading ---------------------------------------------------------------------------------------


def capture() -> Tuple[DebugState, List[str]]:
    """The debugger's state, and notes on what of it cannot be kept. Changes neither selection nor
    settings.
    """
    points, notes = breakpoints.read()
    state = DebugState(
        args=gdbtext.quoted_value(quietly("show args")),
        cwd=gdbtext.quoted_value(quietly("show cwd")),
        symbol_file=_symbol_file(),
        environment=_environment(),
        directories=str(parameter("directories") or ""),
        substitutions=gdbtext.substitutions(quietly("show substitute-path")),
        breakpoints=points,
        displays=read_displays(),
        symbol_files=_symbol_files(),
        signals=tuple(
            Signal(row.name, row.stop, row.print, row.passed)
            for row in gdbtext.signals(quietly("info signals")).values()
        ),
        language=_language(),
    )
    return state, notes


# Values of several lines that restores have set: what GDB shows does not tell where one ends.
_set_lines: Dict[str, str] = {}


def _environment() -> Dict[str, str]:
    """The environment with which GDB starts a program."""
    own = {gdbtext.of_raw(name): gdbtext.of_raw(text) for name, text in os.environb.items()}
    known = [*_set_lines.items(), *own.items()]
    return gdbtext.environment(quietly("show environment"), known)


def read_displays() -> Tuple[Display, ...]:
    """The session's displays."""
    return tuple(
        Display(row.enabled, row.format, row.expression)
        for row in gdbtext.displays(quietly("info display"))
    )


def _language() -> str:
    """The language that the user has set, "" when GDB finds it out."""
    chosen = shown("language")
    return "" if chosen in ("auto", "local", "unknown") else chosen


def _symbol_file() -> str:
    """The file of the program's symbols, "" when it is the executable itself."""
    loaded = inferior.loaded_file()
    program = inferior.program_path()
    if (
        loaded is None
        or not os.path.isabs(loaded)
        or os.path.realpath(loaded) == os.path.realpath(program)
    ):
        return ""
    try:
        # A snapshot's own copy of an executable runs under another name.
        return (
            "" if os.path.samefile(loaded, f"/proc/{gdb.selected_inferior().pid}/exe") else loaded
        )
    except OSError:
        return loaded


def _symbol_files() -> Tuple[SymbolFile, ...]:
    """The files the user gave to add-symbol-file: those that neither the program nor the linker nor
    GDB brought in.
    """
    program = inferior.loaded_file()
    libraries = {
        library.name for library in gdbtext.shared_libraries(quietly("info sharedlibrary"))
    }
    candidates = [
        name
        for name in _object_files(lambda objfile: objfile.owner is None)
        if name != program
        and name not in libraries
        and not name.startswith("system-supplied DSO")
        and os.path.exists(name)
    ]
    known = {os.path.realpath(name) for name in libraries}
    candidates = [name for name in candidates if os.path.realpath(name) not in known]
    if not candidates:
        return ()
    table = gdbtext.sections(quietly("maint info sections -all-objects"))
    found = []
    for name in candidates:
        placed = [
            (section.name, section.address) for section in table.get(name, ()) if section.address
        ]
        if placed:
            found.append(SymbolFile(os.path.abspath(name), tuple(placed)))
    return tuple(found)


def _object_files(wanted: Callable[[Any], bool]) -> List[str]:
    """The names of the files that GDB has symbols from."""
    names = [exact(lambda: each.filename) for each in gdb.objfiles() if wanted(each)]
    return [name for name in names if name]


# -- making it again -------------------------------------------------------------------------------


def apply_settings(state: DebugState) -> List[str]:
    """Arguments, environment, directories, signal table: everything that needs no process. Returns
    notes.
    """
    notes: List[str] = []
    with setting("confirm", "off"):
        if state.args != gdbtext.quoted_value(quietly("show args")):
            attempt(f"set args {state.args}".rstrip(" "), "the arguments", notes)
        if state.cwd != gdbtext.quoted_value(quietly("show cwd")):
            attempt(f"set cwd {state.cwd}".rstrip(" "), "the working directory", notes)
        _apply_environment(state.environment, notes)
        if state.language:
            attempt(f"set language {state.language}", "the language", notes)
        notes += apply_sources(state)
        _apply_signals(state.signals, notes)
    return notes


def apply_sources(state: DebugState) -> List[str]:
    """Where the source files are. Returns notes."""
    notes: List[str] = []
    with setting("confirm", "off"):
        _apply_directories(state.directories, notes)
        present = gdbtext.substitutions(quietly("show substitute-path"))
        for before, after in state.substitutions:
            if (before, after) not in present:
                attempt(
                    f"set substitute-path {quoted(before)} {quoted(after)}",
                    "a substitute-path",
                    notes,
                )
    return notes


def _set_variable(name: str, value: str, notes: List[str]) -> None:
    if value != value.strip() and hasattr(gdb.Inferior, "set_env"):
        # The command drops blanks at the ends of a value. GDB before 14 has nothing else.
        try:
            gdb.selected_inferior().set_env(name, value)
            return
        except UnicodeError:
            pass  # this takes text only
    attempt(f"set environment {name}={value}", f"the environment variable {name}", notes)


def _apply_environment(saved: Mapping[str, str], notes: List[str]) -> None:
    if not saved:
        return  # saved without GDB
    present = _environment()
    changed = [
        name
        for name in sorted(set(saved) | set(present))
        if name not in TERMINAL_VARIABLES and saved.get(name) != present.get(name)
    ]
    for name in changed:
        if name in saved:
            if "\n" in saved[name]:
                _set_lines[name] = saved[name]
            _set_variable(name, saved[name], notes)
        else:
            attempt(f"unset environment {name}", f"the environment variable {name}", notes)
    kept = _environment() if changed else {}
    notes += [
        f"the environment variable {name} could not be restored: GDB set {kept.get(name)!r}"
        for name in changed
        if name in saved and kept.get(name) != saved[name]
    ]


def _apply_directories(saved: str, notes: List[str]) -> None:
    present = str(parameter("directories") or "").split(":")
    missing = [entry for entry in saved.split(":") if entry and entry not in present]
    if missing:
        attempt(f"set directories {':'.join(missing + present)}", "the source directories", notes)


def _apply_signals(saved: Sequence[Signal], notes: List[str]) -> None:
    present = gdbtext.signals(quietly("info signals"))
    for row in saved:
        now = present.get(row.name)
        if now is None or (now.stop, now.print, now.passed) == (row.stop, row.print, row.passed):
            continue
        # "stop" switches "print" on and "noprint" switches "stop" off, so the order matters.
        words = " ".join(
            (
                "print" if row.print else "noprint",
                "stop" if row.stop else "nostop",
                "pass" if row.passed else "nopass",
            )
        )
        attempt(f"handle {row.name} {words}", f"the handling of {row.name}", notes)


def apply_symbol_files(state: DebugState) -> List[str]:
    """add-symbol-file for the files the session had added. Returns notes."""
    notes: List[str] = []
    loaded = {os.path.realpath(name) for name in _object_files(lambda _: True)}
    for file in state.symbol_files:
        if os.path.realpath(file.path) in loaded:
            continue
        if not os.path.exists(file.path):
            notes.append(f"the symbol file {file.path} is gone: its symbols are not loaded")
            continue
        sections = " ".join(f"-s {quoted(name)} {address:#x}" for name, address in file.sections)
        with setting("confirm", "off"), language():
            attempt(
                f"add-symbol-file {quoted(file.path)} {sections}",
                f"the symbol file {file.path}",
                notes,
            )
    return notes


def apply_displays(state: DebugState) -> List[str]:
    """Make the displays the session does not have, each in the innermost frame where it can be
    evaluated.
    """
    notes: List[str] = []
    present = {(row.format, row.expression) for row in read_displays()}
    level = selected_level()
    for row in state.displays:
        if (row.format, row.expression) in present:
            continue
        present.add((row.format, row.expression))
        if runs_shell(row.expression):
            notes.append(f"display {row.expression} runs a shell: it was not made again")
            continue
        problem = _make_display(row, level)
        if problem is not None:
            notes.append(f"display {row.expression} could not be made again: {problem}")
    select_level(level)
    return notes


# A display belongs to the block it was made in; GDB does not tell which frame that was.
_DISPLAY_LEVELS = 32


def _make_display(row: Display, level: int) -> Optional[str]:
    problem: Optional[str] = None
    for candidate in [level, *(each for each in range(_DISPLAY_LEVELS) if each != level)]:
        if not select_level(candidate):
            break
        before = len(read_displays())
        with unchosen():
            problem = problem_with(f"display{row.format} {row.expression}")
        if len(read_displays()) > before:
            if not row.enabled:
                last = gdbtext.displays(quietly("info display"))[-1]
                problem_with(f"disable display {last.number}")
            return None
    return problem or "GDB made none"


@contextmanager
def displays_silenced() -> Iterator[None]:
    """Have GDB evaluate no display for a while: one may call a function of the program."""
    numbers = [row.number for row in gdbtext.displays(quietly("info display")) if row.enabled]
    for number in numbers:
        quietly(f"disable display {number}")
    try:
        yield
    finally:
        for number in numbers:
            problem_with(f"enable display {number}")  # GDB may have deleted it meanwhile
