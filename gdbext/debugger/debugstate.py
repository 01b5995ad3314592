"""The debugger's side of a snapshot: breakpoints, displays, settings. Kept in the image as a plain
table.

The image may come from anywhere. Reading it back checks types, and that no expression and no place
holds a line break. Values and paths may: `session/settings.py` makes one command of each.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, TypeVar

from ..errors import RecordError
from ..records import read, read_dict, read_list

FORMAT = 1
# Variables that belong to the terminal of a session, not to the program.
TERMINAL_VARIABLES = frozenset({"TERM", "LINES", "COLUMNS", "COLORTERM"})


class Breakpoint(NamedTuple):
    """A breakpoint, watchpoint or catchpoint.

    `command` makes it ("break", "thbreak", "awatch", "catch", "dprintf"...), `spec` is the rest of
    that command line. `thread` is GDB's global number of the thread it is for, 0 for all. A
    watchpoint on locals has the thread (`tid`) and the level (`frame`, else -1) of the frame they
    live in; `address` is what a watchpoint watches (0: unknown). `disabled_locations` are numbers
    counted from 1.
    """

    number: int
    command: str
    spec: str
    condition: str = ""
    commands: str = ""
    ignore_count: int = 0
    enabled: bool = True
    thread: int = 0
    task: int = 0
    tid: int = 0
    frame: int = -1
    address: int = 0
    disabled_locations: Tuple[int, ...] = ()

    @property
    def is_watchpoint(self) -> bool:
        """Whether it watches data."""
        return self.command.endswith("watch")

    @property
    def _fixed(self) -> bool:
        return self.is_watchpoint and self.spec.startswith("-l") and self.address != 0

    def same_place(self, other: "Breakpoint") -> bool:
        """Whether both stop at the same thing, whatever else is said about them."""
        if self._fixed and other._fixed:
            # What stands after -location was evaluated once; the address is what counts.
            return (self.command, self.address) == (other.command, other.address)
        return (self.command, self.spec, self.thread) == (other.command, other.spec, other.thread)


class Display(NamedTuple):
    """An expression shown at each stop."""

    enabled: bool
    format: str
    expression: str


class SymbolFile(NamedTuple):
    """A file given to add-symbol-file, with the addresses of its sections."""

    path: str
    sections: Tuple[Tuple[str, int], ...]


class Signal(NamedTuple):
    """A row of GDB's signal table."""

    name: str
    stop: bool
    print: bool
    passed: bool


# Why a program may have stopped, in GDB/MI's words; "" for no reason that is known.
STOP_REASONS = (
    "", "breakpoint-hit", "watchpoint-trigger", "read-watchpoint-trigger",
    "access-watchpoint-trigger", "watchpoint-scope", "end-stepping-range", "function-finished",
    "location-reached", "signal-received", "solib-event", "fork", "vfork", "exec",
    "syscall-entry", "syscall-return", "no-history",
)  # fmt: skip


class Stop(NamedTuple):
    """Why the program had stopped: one of STOP_REASONS, with GDB's name of a signal and the numbers
    of the breakpoints that were hit.
    """

    reason: str = ""
    signal: str = ""
    breakpoints: Tuple[int, ...] = ()


class DebugState(NamedTuple):
    """All of it. `symbol_file` is where the program's symbols came from, when not from its
    executable. `language` is the one that the user had set for expressions, "" for none.
    """

    args: str = ""
    cwd: str = ""
    symbol_file: str = ""
    environment: Mapping[str, str] = MappingProxyType({})
    directories: str = ""
    substitutions: Tuple[Tuple[str, str], ...] = ()
    breakpoints: Tuple[Breakpoint, ...] = ()
    displays: Tuple[Display, ...] = ()
    symbol_files: Tuple[SymbolFile, ...] = ()
    signals: Tuple[Signal, ...] = ()
    stop: Stop = Stop()
    language: str = ""

    def table(self) -> Dict[str, Any]:
        """As a table for the image: only what JSON has."""
        return {**_plain(self), "format": FORMAT}

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "DebugState":
        """From a record's session table; an empty one (a snapshot by `ckpt-save`) gives an empty
        state.

        Raises RecordError.
        """
        if not source:
            return cls()
        if read(source, "format", int) != FORMAT:
            raise RecordError(
                "the session in this snapshot is of a newer format; -no-session leaves it out"
            )
        environment = read_dict(source, "environment")
        for name, text in environment.items():
            if not isinstance(text, str):
                raise RecordError("damaged record: a value in the environment is no text")
            _text(name)
            _text(text)
        return cls(
            args=_args(source),
            cwd=_text(read(source, "cwd", str, "")),
            symbol_file=_text(read(source, "symbol_file", str, "")),
            environment=environment,
            directories=_text(read(source, "directories", str, "")),
            substitutions=_pairs(source, "substitutions"),
            breakpoints=tuple(_breakpoint(each) for each in read_list(source, "breakpoints", dict)),
            displays=tuple(
                Display(
                    read(each, "enabled", bool),
                    _line(read(each, "format", str)),
                    _line(read(each, "expression", str)),
                )
                for each in read_list(source, "displays", dict)
            ),
            symbol_files=tuple(
                SymbolFile(_text(read(each, "path", str)), _sections(each))
                for each in read_list(source, "symbol_files", dict)
            ),
            signals=tuple(
                Signal(
                    _line(read(each, "name", str)),
                    read(each, "stop", bool),
                    read(each, "print", bool),
                    read(each, "passed", bool),
                )
                for each in read_list(source, "signals", dict)
            ),
            stop=_stop(read_dict(source, "stop")),
            language=_line(read(source, "language", str, "")),
        )


def _plain(found: Any) -> Any:
    if isinstance(found, tuple):
        if hasattr(found, "_asdict"):
            return _plain(found._asdict())
        return [_plain(each) for each in found]
    if isinstance(found, Mapping):
        return {key: _plain(each) for key, each in found.items()}
    return found


def _line(text: str) -> str:
    if "\n" in text or "\r" in text or "\0" in text:
        raise RecordError(f"damaged record: a line break in {text[:40]!r}")
    return text


def _text(text: str) -> str:
    """What is set by one command whatever is in it: arguments, values and paths."""
    if "\0" in text:
        raise RecordError(f"damaged record: a zero byte in {text[:40]!r}")
    return text


def _args(source: Mapping[str, Any]) -> str:
    """The arguments; earlier versions kept those of more than one line as a list."""
    lines = read_list(source, "args_lines", str)
    return _text("\n".join(lines) if lines else read(source, "args", str, ""))


def _pairs(source: Mapping[str, Any], key: str) -> Tuple[Tuple[str, str], ...]:
    found = []
    for pair in read_list(source, key, list):
        if len(pair) != 2 or not all(isinstance(each, str) for each in pair):
            raise RecordError(f'damaged record: an element of "{key}" is no pair of texts')
        found.append((_text(pair[0]), _text(pair[1])))
    return tuple(found)


def _stop(source: Mapping[str, Any]) -> Stop:
    made = Stop(
        read(source, "reason", str, ""),
        _line(read(source, "signal", str, "")),
        read_list(source, "breakpoints", int),
    )
    if made.reason not in STOP_REASONS:
        raise RecordError(f"damaged record: {made.reason[:40]!r} is no reason to stop")
    return made


def _sections(source: Mapping[str, Any]) -> Tuple[Tuple[str, int], ...]:
    found = []
    for pair in read_list(source, "sections", list):
        if len(pair) != 2 or not isinstance(pair[0], str) or not isinstance(pair[1], int):
            raise RecordError("damaged record: a section without name and address")
        found.append((_line(pair[0]), pair[1]))
    return tuple(found)


_COMMANDS = frozenset(
    {
        "break",
        "tbreak",
        "hbreak",
        "thbreak",
        "watch",
        "rwatch",
        "awatch",
        "catch",
        "tcatch",
        "dprintf",
    }
)


def _breakpoint(source: Mapping[str, Any]) -> Breakpoint:
    known = set(Breakpoint._fields)
    table = {key: found for key, found in source.items() if key in known}
    made = Breakpoint(
        number=read(table, "number", int),
        command=read(table, "command", str),
        spec=_line(read(table, "spec", str)),
        condition=_line(read(table, "condition", str, "")),
        commands=read(table, "commands", str, ""),
        ignore_count=read(table, "ignore_count", int, 0),
        enabled=read(table, "enabled", bool, True),
        thread=read(table, "thread", int, 0),
        task=read(table, "task", int, 0),
        tid=read(table, "tid", int, 0),
        frame=read(table, "frame", int, -1),
        address=read(table, "address", int, 0),
        disabled_locations=read_list(table, "disabled_locations", int),
    )
    if made.command not in _COMMANDS:
        raise RecordError(f"damaged record: {made.command[:40]!r} makes no breakpoint")
    return made


def runs_shell(expression: str) -> bool:
    """Whether evaluating an expression of GDB runs a command of the shell ($_shell, in GDB 14)."""
    return re.search(r"\$_shell\b", expression, re.IGNORECASE) is not None


T = TypeVar("T")


def missing_breakpoints(
    saved: Iterable[Breakpoint], present: Iterable[Breakpoint]
) -> List[Breakpoint]:
    """The saved breakpoints the session does not have already, in their order.

    Each present one stands for one saved one: for its exact like first, then for one at the same
    place, since the user may have changed its condition since.
    """
    left = list(present)
    unmatched = []
    for each in saved:
        twin: Optional[Breakpoint] = next(
            (
                other
                for other in left
                if each.same_place(other) and each.condition == other.condition
            ),
            None,
        )
        if twin is None:
            unmatched.append(each)
        else:
            left.remove(twin)
    missing = []
    for each in unmatched:
        twin = next((other for other in left if each.same_place(other)), None)
        if twin is None:
            missing.append(each)
        else:
            left.remove(twin)
    return missing
