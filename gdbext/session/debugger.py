"""The debugger's own state: read for a save, made again for a restore. What it is, is in
`debugstate`.

Nothing here fails a save or a restore: a breakpoint that cannot be made again is a note to the
user, who still has the program.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import gdb

from .. import gdbtext
from ..debugstate import (
    TERMINAL_VARIABLES,
    Breakpoint,
    DebugState,
    Display,
    Signal,
    SymbolFile,
    missing_breakpoints,
)
from . import inferior
from .settings import convenience_kept, quietly, select_level, selected_level, setting

# Numbers of breakpoints of ours, which are not the user's to be kept.
own_breakpoints: Set[int] = set()

# -- reading ---------------------------------------------------------------------------------------

_WATCH_COMMANDS = {
    "BP_WATCHPOINT": "watch",
    "BP_HARDWARE_WATCHPOINT": "watch",
    "BP_READ_WATCHPOINT": "rwatch",
    "BP_ACCESS_WATCHPOINT": "awatch",
}


def capture() -> Tuple[DebugState, List[str]]:
    """The debugger's state, and notes on what of it cannot be kept. Changes neither selection nor
    settings.
    """
    breakpoints, notes = read_breakpoints()
    state = DebugState(
        args=gdbtext.quoted_value(quietly("show args")),
        cwd=gdbtext.quoted_value(quietly("show cwd")),
        symbol_file=_symbol_file(),
        environment=gdbtext.environment(quietly("show environment"), os.environ),
        directories=str(gdb.parameter("directories") or ""),
        substitutions=gdbtext.substitutions(quietly("show substitute-path")),
        breakpoints=breakpoints,
        displays=read_displays(),
        symbol_files=_symbol_files(),
        signals=tuple(
            Signal(row.name, row.stop, row.print, row.passed)
            for row in gdbtext.signals(quietly("info signals")).values()
        ),
        libraries=_libraries(),
    )
    return state, notes


def read_displays() -> Tuple[Display, ...]:
    """The session's displays."""
    return tuple(
        Display(row.enabled, row.format, row.expression)
        for row in gdbtext.displays(quietly("info display"))
    )


def read_breakpoints() -> Tuple[Tuple[Breakpoint, ...], List[str]]:
    """The user's breakpoints in the order of their numbers, and notes on those that cannot be kept.
    """
    known = {
        point.number: point
        for point in gdb.breakpoints()
        if point.visible and point.number > 0 and point.number not in own_breakpoints
    }
    listed: Dict[int, Dict[str, Any]] = {}
    frames: Dict[int, Tuple[int, int]] = {}
    scoped: Mapping[int, int] = {}
    # The listings have a side effect, so they are asked only when the API leaves something open:
    # catchpoints, what it does not show at all (dprintf), the frames of watched locals.
    with convenience_kept("_", "__"):
        if any(_is_catchpoint(point) for point in known.values()) or _has_gaps(known):
            listed = {
                number: row for number, row in _listing().items() if number not in own_breakpoints
            }
        if (
            any(_watch_command(point) for point in known.values())
            and gdb.selected_thread() is not None
        ):
            frames, scoped = inferior.watched_frames()
    found: List[Breakpoint] = []
    notes: List[str] = []
    for number in sorted(set(known) | set(listed)):
        row = listed.get(number, {})
        point = known.get(number)
        made = (
            _read_known(point, row, frames, notes)
            if point is not None
            else _read_listed(number, row, notes)
        )
        if made is None:
            continue
        if number in scoped and number not in frames:
            notes.append(
                f"watchpoint {number} ({made.spec}) watches locals of a frame that was not found: "
                "not kept"
            )
            continue
        found.append(made)
    return tuple(found), notes


def _has_gaps(known: Mapping[int, Any]) -> bool:
    """Whether there are numbers the API has no breakpoint for: of deleted ones, or of kinds it does
    not show.
    """
    last = gdb.convenience_variable("bpnum")
    return last is not None and len(known) < int(last)


def _listing() -> Dict[int, Dict[str, Any]]:
    """All breakpoints as GDB lists them, those included that the Python API does not show.

    Not `save breakpoints`: GDB 13.1 dies of an assertion when there is a `catch syscall NAME`.
    """
    return gdbtext.listed_breakpoints(quietly("info breakpoints"))


def _is_catchpoint(point: Any) -> bool:
    return bool(getattr(gdb, "BP_CATCHPOINT", None) == point.type)


def _watch_command(point: Any) -> Optional[str]:
    for constant, command in _WATCH_COMMANDS.items():
        if getattr(gdb, constant, None) == point.type:
            return command
    return None


def _read_known(
    point: Any, row: Mapping[str, Any], frames: Mapping[int, Tuple[int, int]], notes: List[str]
) -> Optional[Breakpoint]:
    number = int(point.number)
    if type(point) is not gdb.Breakpoint:
        # Made by a Python script, with methods of its own; without them it would be another
        # breakpoint.
        notes.append(
            f"breakpoint {number} is made by Python code ({type(point).__name__}): not kept"
        )
        return None
    temporary = bool(point.temporary)
    watch = _watch_command(point)
    tid, frame = frames.get(number, (0, -1))
    address = 0
    if _is_catchpoint(point):
        words = gdbtext.catch_arguments(str(row.get("what", "")))
        if words is None:
            notes.append(
                f"catchpoint {number} ({row.get('what', '?')}) is of a kind that cannot be kept"
            )
            return None
        command, spec = "tcatch" if row.get("disp") == "del" else "catch", words
        if row.get("regexp"):
            spec += f" {row['regexp']}"
    elif watch is not None:
        command, spec = watch, str(point.expression)
        places = locations(point)
        address = int(places[0].address) if len(places) == 1 else 0
    elif point.location is not None:
        hardware = point.type == getattr(gdb, "BP_HARDWARE_BREAKPOINT", None)
        command = ("t" if temporary else "") + ("hbreak" if hardware else "break")
        spec = str(point.location)
    else:
        return None
    disabled: Tuple[int, ...] = ()
    if watch is None and not point.pending:
        disabled = tuple(
            index for index, place in enumerate(locations(point), 1) if not place.enabled
        )
        if len(disabled) == len(locations(point)):
            # A condition that is invalid everywhere disables them; GDB will do so again.
            disabled = ()
    return Breakpoint(
        number=number,
        command=command,
        spec=spec,
        condition=str(point.condition or ""),
        commands=str(point.commands or ""),
        ignore_count=int(point.ignore_count),
        enabled=bool(point.enabled),
        thread=int(point.thread or 0),
        task=int(point.task or 0),
        tid=tid,
        frame=frame,
        address=address,
        disabled_locations=disabled,
    )


def locations(point: Any) -> Sequence[Any]:
    """The places of a breakpoint; none in a GDB that does not tell (before 13)."""
    try:
        return list(point.locations)
    except (AttributeError, gdb.error, RuntimeError):
        return []


def _exact(row: Mapping[str, Any]) -> str:
    """The place of a listed breakpoint: its line, or its address when the line stands for more
    places than the breakpoint had (a function of one line has two).
    """
    location, address = str(row.get("location", "")), str(row.get("address", ""))
    if not location or not address.startswith("0x"):
        return location
    try:
        places = gdb.decode_line(location)[1] or ()
    except gdb.error:
        return location
    return f"*{address}" if len(places) > 1 else location


def _read_listed(number: int, row: Mapping[str, Any], notes: List[str]) -> Optional[Breakpoint]:
    """A breakpoint the Python API does not show, from its row in GDB/MI's list."""
    kind = str(row.get("type", ""))
    script = [line for line in row.get("script", []) if isinstance(line, str)]
    common: Dict[str, Any] = {
        "number": number,
        "condition": str(row.get("cond", "")),
        "ignore_count": int(row.get("ignore", 0)),
        "enabled": row.get("enabled") != "n",
        "thread": int(row.get("thread", 0)),
    }
    if kind == "dprintf":
        # GDB makes the command of the format it was given; a pending one shows what was typed.
        location = _exact(row)
        format_and_values = script[0].partition("printf ")[2] if script else ""
        spec = (
            f"{location},{format_and_values}"
            if location and format_and_values
            else str(row.get("what", ""))
        )
        if "," in spec:
            return Breakpoint(command="dprintf", spec=spec, **common)
    words = gdbtext.catch_arguments(str(row.get("what", "")))
    if words is not None:
        command = "tcatch" if row.get("disp") == "del" else "catch"
        return Breakpoint(command=command, spec=words, commands="\n".join(script), **common)
    notes.append(f"{kind or 'breakpoint'} {number} is of a kind that cannot be kept")
    return None


def _libraries() -> Tuple[Tuple[str, str], ...]:
    """The libraries whose name for the dynamic linker is not the path of their file, with that
    path.
    """
    found = []
    for library in gdbtext.shared_libraries(quietly("info sharedlibrary")):
        name = _without_sysroot(library.name)
        real = os.path.realpath(name)
        if real != name:
            found.append((name, real))
    return tuple(found)


def _without_sysroot(name: str) -> str:
    root = str(gdb.parameter("sysroot") or "").rstrip("/")
    if root and root != "target:" and name.startswith(root + "/"):
        return name[len(root) :]
    return name[len("target:") :] if name.startswith("target:") else name


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
        objfile.filename
        for objfile in gdb.objfiles()
        if objfile.owner is None
        and objfile.filename
        and objfile.filename != program
        and objfile.filename not in libraries
        and not objfile.filename.startswith("system-supplied DSO")
        and os.path.exists(objfile.filename)
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


# -- making it again -------------------------------------------------------------------------------


def apply_settings(state: DebugState) -> List[str]:
    """Arguments, environment, directories, signal table: everything that needs no process. Returns
    notes.
    """
    notes: List[str] = []
    with setting("confirm", "off"):
        if state.args != gdbtext.quoted_value(quietly("show args")):
            _attempt(f"set args {state.args}".rstrip(), "the arguments", notes)
        if state.cwd != gdbtext.quoted_value(quietly("show cwd")):
            _attempt(f"set cwd {state.cwd}".rstrip(), "the working directory", notes)
        _apply_environment(state.environment, notes)
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
                _attempt(
                    f"set substitute-path {quoted(before)} {quoted(after)}",
                    "a substitute-path",
                    notes,
                )
    return notes


def _apply_environment(saved: Mapping[str, str], notes: List[str]) -> None:
    if not saved:
        return  # saved without GDB
    present = gdbtext.environment(quietly("show environment"), os.environ)
    for name in sorted(set(saved) | set(present)):
        if name in TERMINAL_VARIABLES or saved.get(name) == present.get(name):
            continue
        if name in saved:
            _attempt(
                f"set environment {name}={saved[name]}", f"the environment variable {name}", notes
            )
        else:
            _attempt(f"unset environment {name}", f"the environment variable {name}", notes)


def _apply_directories(saved: str, notes: List[str]) -> None:
    present = str(gdb.parameter("directories") or "").split(":")
    missing = [entry for entry in saved.split(":") if entry and entry not in present]
    if missing:
        _attempt(f"set directories {':'.join(missing + present)}", "the source directories", notes)


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
        _attempt(f"handle {row.name} {words}", f"the handling of {row.name}", notes)


def apply_symbol_files(state: DebugState) -> List[str]:
    """add-symbol-file for the files the session had added. Returns notes."""
    notes: List[str] = []
    loaded = {os.path.realpath(objfile.filename) for objfile in gdb.objfiles() if objfile.filename}
    for file in state.symbol_files:
        if os.path.realpath(file.path) in loaded:
            continue
        if not os.path.exists(file.path):
            notes.append(f"the symbol file {file.path} is gone: its symbols are not loaded")
            continue
        sections = " ".join(f"-s {quoted(name)} {address:#x}" for name, address in file.sections)
        with setting("confirm", "off"):
            _attempt(
                f"add-symbol-file {quoted(file.path)} {sections}",
                f"the symbol file {file.path}",
                notes,
            )
    return notes


def apply_breakpoints(
    state: DebugState, tids: Mapping[int, int], numbers: Mapping[int, int]
) -> List[str]:
    """Make the breakpoints the session does not have. Returns notes.

    `tids` maps saved thread ids to the present ones, `numbers` saved thread numbers (GDB's global
    ones) to present ones. The selection may change.
    """
    notes: List[str] = []
    present, _ = read_breakpoints()
    saved = [_renumbered(each, numbers) for each in state.breakpoints]
    thread, level = gdb.selected_thread(), selected_level()
    with ExitStack() as stack:
        stack.enter_context(setting("breakpoint pending", "on"))
        stack.enter_context(setting("confirm", "off"))
        for each in missing_breakpoints(saved, present):
            _make_breakpoint(each, tids, notes)
            thread.switch()
            select_level(level)
    return notes


def _renumbered(point: Breakpoint, numbers: Mapping[int, int]) -> Breakpoint:
    if not point.thread:
        return point
    return point._replace(thread=numbers.get(point.thread, point.thread))


def _make_breakpoint(point: Breakpoint, tids: Mapping[int, int], notes: List[str]) -> None:
    text = f"{point.command} {point.spec}"
    what = f"{'watchpoint' if point.is_watchpoint else 'breakpoint'} {point.number} ({text})"
    before = _last_number()
    if point.thread:
        text += f" thread {_thread_word(point.thread)}"
    if point.task:
        text += f" task {point.task}"
    if point.is_watchpoint:
        problem = _make_watchpoint(point, text, tids)
    else:
        problem = _try(text)
    number = _last_number()
    if number == before:
        notes.append(f"{what} could not be made again: {problem or 'GDB made none'}")
        return
    if point.condition:
        # -force keeps a condition that cannot be evaluated yet (12 and newer), as a pending
        # breakpoint needs.
        if _try(f"condition -force {number} {point.condition}") is not None:
            _attempt(f"condition {number} {point.condition}", f"the condition of {what}", notes)
    if point.ignore_count:
        _attempt(f"ignore {number} {point.ignore_count}", f"the ignore count of {what}", notes)
    if point.commands and point.command != "dprintf":
        _attempt(
            f"commands {number}\n{point.commands.rstrip()}\nend", f"the commands of {what}", notes
        )
    for location in point.disabled_locations:
        _try(f"disable {number}.{location}")
    if not point.enabled:
        _attempt(f"disable {number}", what, notes)


def _thread_word(global_number: int) -> str:
    """A thread as the `thread N` of a breakpoint wants it: by its number in its inferior."""
    for thread in gdb.selected_inferior().threads():
        if int(thread.global_num) == global_number:
            return str(thread.num)
    return str(global_number)


def _make_watchpoint(point: Breakpoint, text: str, tids: Mapping[int, int]) -> Optional[str]:
    """Make a watchpoint where its expression means what it meant. Returns the problem, or None."""
    problem: Optional[str] = None
    before = _last_number()
    for level in range(max(point.frame, 0), -1, -1):
        if point.frame >= 0:
            # A frame that shares its caller's address (an inlined function) may have been meant:
            # try further in, too.
            if not select_thread(tids.get(point.tid, point.tid)) or not select_level(level):
                return "its frame is not there"
        problem = _try(text)
        if _last_number() != before:
            break
    made = next((each for each in gdb.breakpoints() if each.number == _last_number()), None)
    if made is None or _last_number() == before or not point.address or point.frame >= 0:
        return problem
    places = locations(made)
    if len(places) == 1 and int(places[0].address) != point.address and point.spec.startswith("-l"):
        # `watch -location p->x` stays at the address it had when it was made, and p may have moved
        # on since.
        try:
            kind = gdb.parse_and_eval(point.spec.split(None, 1)[1]).type
            made.delete()
            return _try(f"{point.command} -location *({kind} *) {point.address:#x}")
        except gdb.error as error:
            return inferior.stop_problem(error)
    return problem


def select_thread(tid: int) -> bool:
    """Select the thread with the kernel's id `tid`; False when there is none."""
    for thread in gdb.selected_inferior().threads():
        if inferior.thread_tid(thread) == tid:
            thread.switch()
            return True
    return False


def refresh_watchpoints() -> None:
    """Disable and enable each watchpoint that is enabled, so that GDB reads its value again.

    GDB reports a watchpoint when the value differs from the one it has cached; with a value from
    before the restore it would miss the first change, or report one that did not happen.
    """
    for point in gdb.breakpoints():
        if _watch_command(point) and point.is_valid() and point.enabled:
            try:
                point.enabled = False
                point.enabled = True
            except (gdb.error, RuntimeError):
                continue  # it cannot be evaluated here; GDB says so when it is


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
        problem = _try(f"display{row.format} {row.expression}")
        if len(read_displays()) > before:
            if not row.enabled:
                number = max(_display_numbers(), default=0)
                _try(f"disable display {number}")
            return None
    return problem or "GDB made none"


def _display_numbers() -> List[int]:
    lines = quietly("info display").splitlines()
    return [int(line.split(":", 1)[0]) for line in lines if line.split(":", 1)[0].isdigit()]


def _last_number() -> int:
    last = gdb.convenience_variable("bpnum")
    return int(last) if last is not None else 0


def _try(command: str) -> Optional[str]:
    """Run a command in silence; the error as one line, or None."""
    try:
        quietly(command)
    except gdb.error as error:
        return inferior.stop_problem(error)
    return None


def _attempt(command: str, what: str, notes: List[str]) -> None:
    problem = _try(command)
    if problem is not None:
        notes.append(f"{what} could not be restored: {problem}")


def quoted(text: str) -> str:
    """`text` as one word of a GDB command."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
