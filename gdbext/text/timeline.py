"""A recording as text: where one is in it, where one wants to be, and a picture of it with what is
notable.

A position is a number of events that are past; what comes between two events has the number of the
former.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

from ..errors import CkptError, UsageError
from .report import aligned, counted, printable

BEGIN = "begin"
END = "end"

# A picture is no narrower than this, whatever the terminal is.
_LEAST_COLUMNS = 20
# Without a terminal's width.
_COLUMNS = 80
# How many notable events are listed before the position and behind it.
NEARBY = 5


class Position(NamedTuple):
    """Where a recording is: so many events of so many are past; `thread` is the kernel's id of the
    thread that runs next. `signal` comes next, if one does. `at_end`: nothing more can run.
    """

    event: int
    events: int
    thread: int
    program: str
    file: str
    signal: Optional[str]
    at_end: bool

    @classmethod
    def of(cls, table: Any) -> "Position":
        """As the server tells it. Raises CkptError for anything else."""
        try:
            return cls(
                int(table["event"]),
                int(table["events"]),
                int(table["thread"]),
                str(table["program"]),
                str(table["file"]),
                None if table["signal"] is None else str(table["signal"]),
                bool(table["at_end"]),
            )
        except (KeyError, TypeError, ValueError):
            raise CkptError("the server of the recording has told no position") from None

    def table(self) -> Dict[str, Any]:
        """For JSON."""
        return {**self._asdict(), "percent": round(percent(self.event, self.events), 1)}


class Mark(NamedTuple):
    """A notable event: `kind` is signal, output, thread or exit; other kinds are shown, too."""

    event: int
    kind: str
    thread: int
    what: str


def marks_of(table: Any) -> List[Mark]:
    """The marks of a timeline as the server tells it, by event. Raises CkptError for anything else.
    """
    try:
        found = [
            Mark(int(each["event"]), str(each["kind"]), int(each["thread"]), str(each["what"]))
            for each in table["marks"]
        ]
    except (KeyError, TypeError, ValueError):
        raise CkptError("the server of the recording has told no timeline") from None
    return sorted(found)


def percent(event: int, events: int) -> float:
    """How much of a recording is past."""
    return 100 * event / events if events else 0.0


def where(position: Position) -> str:
    """In words: "event 43 of 99 (43.4 %), thread 812"."""
    share = f"{percent(position.event, position.events):.1f} %"
    if position.at_end:
        share = "the end"
    elif position.event == 0:
        share = "the begin"
    return f"event {position.event} of {position.events} ({share}), thread {position.thread}"


def rewound(name: str, position: Position) -> str:
    """The line after a rewind."""
    line = f"Rewound {name}: {where(position)}, program {position.program}"
    return f"{line}; received {position.signal}" if position.signal else line


def described(position: Position) -> List[str]:
    """`ckpt position`."""
    line = where(position)
    if position.signal:
        line += f", {position.signal} comes next"
    return [line, f"recording {position.file} of {position.program}"]


def check_start(text: str) -> str:
    """The POSITION of `ckpt rewind -at`. Raises UsageError."""
    if text in (BEGIN, END) or _is_number(text):
        return text
    raise UsageError(f'-at is begin, end or the number of an event, not "{text}"')


def target(text: str, position: Position) -> str:
    """The POSITION of `ckpt goto` for the server. Raises UsageError."""
    if text in (BEGIN, END):
        return text
    if _is_number(text):
        if int(text) > position.events:
            raise UsageError(f"there is no event {text}: the last is {position.events}")
        return text
    if text[:1] in ("+", "-") and _is_number(text[1:]):
        wanted = position.event + int(text)
        return END if wanted >= position.events else str(max(wanted, 0))
    share = re.fullmatch(r"(\d{1,3}(?:\.\d{1,9})?)%", text, re.ASCII)
    if share is not None and float(share[1]) <= 100:
        wanted = round(position.events * float(share[1]) / 100)
        return END if wanted >= position.events else str(wanted)
    raise UsageError(
        f'POSITION is begin, end, the number of an event, +N, -N or a share as 50%, not "{text}"'
    )


def is_at(wanted: str, position: Position) -> bool:
    """Whether a position is the one that `target` gave. What nothing has to run for is past, too.
    """
    if wanted == END:
        return position.at_end
    return position.at_end or position.event >= (0 if wanted == BEGIN else int(wanted))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 19


# -- the picture -----------------------------------------------------------------------------------


class _Kind(NamedTuple):
    sign: str
    meaning: str


# What hides what, where several are in one column.
_KINDS = (
    ("exit", _Kind("X", "end")),
    ("signal", _Kind("!", "signal")),
    ("thread started", _Kind("+", "thread started")),
    ("thread ended", _Kind("-", "thread ended")),
    ("output", _Kind("o", "output")),
    ("other", _Kind("*", "other")),
)
_RANK = {name: rank for rank, (name, _) in enumerate(_KINDS)}
_HERE = "^"


def _kind(mark: Mark) -> str:
    name = f"thread {mark.what}" if mark.kind == "thread" else mark.kind
    return name if name in _RANK else "other"


def picture(position: Position, marks: Sequence[Mark], width: Optional[int]) -> List[str]:
    """The recording as a line of `width` columns (None: of 80) with its marks, "you are here" below
    it, and what the signs mean.
    """
    columns = max(_LEAST_COLUMNS, (width or _COLUMNS) - 1)
    inside = columns - 2
    row = ["."] * inside
    ranks = [len(_KINDS)] * inside
    for mark in marks:
        at = _column(mark.event, position.events, inside)
        rank = _RANK[_kind(mark)]
        if rank < ranks[at]:
            ranks[at], row[at] = rank, _KINDS[rank][1].sign
    here = 1 + _column(position.event, position.events, inside)
    lines = [f"[{''.join(row)}]", _pointer(here, where(position), columns)]
    seen = sorted({*ranks} - {len(_KINDS)})
    if seen:
        kinds = (_KINDS[rank][1] for rank in seen)
        lines += _wrapped((f"{kind.sign} {kind.meaning}" for kind in kinds), columns)
    return lines


def _column(event: int, events: int, columns: int) -> int:
    return min(columns - 1, event * columns // max(events, 1))


def _pointer(column: int, text: str, columns: int) -> str:
    """The text right of the sign where there is room, else left of it, else below."""
    if column + 2 + len(text) <= columns:
        return f"{' ' * column}{_HERE} {text}"
    if len(text) + 1 <= column:
        return f"{' ' * (column - len(text) - 1)}{text} {_HERE}"
    return f"{' ' * column}{_HERE}\n{text}"


def _wrapped(parts: Iterable[str], columns: int) -> List[str]:
    lines: List[str] = []
    for part in parts:
        if lines and len(lines[-1]) + 3 + len(part) <= columns:
            lines[-1] += f"   {part}"
        else:
            lines.append(part)
    return lines


def nearby(position: Position, marks: Sequence[Mark], count: int = NEARBY) -> List[str]:
    """The notable events before the position and behind it, at most `count` each."""
    past = [mark for mark in marks if mark.event < position.event]
    ahead = [mark for mark in marks if mark.event >= position.event]
    rows: List[Sequence[str]] = [("", "event", "thread", "")] if marks else []
    rows += [_row(mark) for mark in past[max(len(past) - count, 0) :]]
    rows.append((">", str(position.event), str(position.thread), "you are here"))
    rows += [_row(mark) for mark in ahead[:count]]
    lines = aligned(rows)
    if len(past) > count:
        lines.insert(1, f"   ({counted(len(past) - count, 'notable event')} before)")
    if len(ahead) > count:
        lines.append(f"   ({counted(len(ahead) - count, 'notable event')} after)")
    return lines


def _row(mark: Mark) -> Sequence[str]:
    kind = "end" if mark.kind == "exit" else mark.kind
    return ("", str(mark.event), str(mark.thread), f"{kind}: {mark.what}")


def table(position: Position, marks: Sequence[Mark]) -> Dict[str, Any]:
    """`ckpt timeline -json`."""
    return {**position.table(), "marks": [mark._asdict() for mark in marks]}


# -- last, find ------------------------------------------------------------------------------------


def last_write(expression: str, position: Position, old: str, new: str) -> List[str]:
    """`ckpt last`: what the values were before and behind the write that comes next."""
    name = printable(expression)
    place = f"Last write of {name}: {where(position)}"
    return [place, "", f"Old value = {old}", f"New value = {new}"]


def found(
    expression: str, position: Optional[Position], looked: int, last: bool
) -> List[str]:
    """`ckpt find` in a recording."""
    name = printable(expression)
    told = f"{counted(looked, 'event')} looked at"
    if position is None:
        end = "end" if last else "begin or the end"
        return [f"{name} is not true at the {end} of the recording; {told}."]
    which = "last" if last else "first"
    return [f"{name} is {which} true at {where(position)}; {told}."]


def found_table(position: Optional[Position], looked: int) -> Mapping[str, Any]:
    """`ckpt find -json` in a recording."""
    return {"event": None if position is None else position.event, "asked": looked}
