"""What the user is told of watchpoints and breakpoints that need the processor's debug registers,
on a machine where those stop nothing.
"""

from __future__ import annotations

from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional

from .debugstate import Breakpoint

CHANGES = frozenset({"watch"})
ACCESSES = frozenset({"rwatch", "awatch"})
CODE = frozenset({"hbreak", "thbreak"})


class Works(NamedTuple):
    """What of the debug registers works on this machine."""

    watchpoints: bool = True
    breakpoints: bool = True


class Point(NamedTuple):
    """An enabled breakpoint or watchpoint of the hardware, with the command that makes it."""

    number: int
    command: str


class Dead(NamedTuple):
    """The numbers of those that never stop the program: `changes` can be software watchpoints,
    `accesses` cannot, and `code` are breakpoints.
    """

    changes: List[int]
    accesses: List[int]
    code: List[int]

    @classmethod
    def of(cls, points: Iterable[Point], works: Works) -> "Dead":
        """Those of `points` that do not work."""
        found = list(points)

        def numbers(commands: Iterable[str], alive: bool) -> List[int]:
            return [] if alive else [each.number for each in found if each.command in commands]

        return cls(
            numbers(CHANGES, works.watchpoints),
            numbers(ACCESSES, works.watchpoints),
            numbers(CODE, works.breakpoints),
        )


def saved_points(saved: Iterable[Breakpoint], watchpoints: bool) -> List[Point]:
    """Those of a saved session that GDB would have the hardware look after;
    no watchpoints where it may not.
    """
    wanted = CODE | CHANGES | ACCESSES if watchpoints else CODE
    return [
        Point(each.number, each.command)
        for each in saved
        if each.enabled and each.command in wanted
    ]


_NO_READS = "software watchpoints cannot see reads"
_AT_SAVE = {
    "changes": (
        '{points} never stop{s} the program ("set can-use-hw-watchpoints 0", '
        'then "enable {numbers}", for {software})'
    ),
    "accesses": "{points} never stop{s} the program (" + _NO_READS + ": delete {it})",
    "code": '{points} never stop{s} the program (use "break")',
}
_AT_RESTORE = {
    "changes": "{points} {is_} now {software} (can-use-hw-watchpoints is 0)",
    "accesses": "{points} did not come back, since " + _NO_READS,
    "code": _AT_SAVE["code"],
}
_BEFORE_RESTORE = {
    "changes": "{points} will come back as {software}",
    "accesses": "{points} will not come back, since " + _NO_READS,
    "code": "{points} will never stop the program",
}


def at_save(dead: Dead) -> Optional[str]:
    """The note of a save, or None when everything works."""
    return _note(dead, _AT_SAVE)


def at_restore(dead: Dead) -> Optional[str]:
    """The note of a restore, which has made software watchpoints of those it can."""
    return _note(dead, _AT_RESTORE)


def before_restore(dead: Dead) -> Optional[str]:
    """The note on a snapshot."""
    return _note(dead, _BEFORE_RESTORE)


def _note(dead: Dead, phrases: Mapping[str, str]) -> Optional[str]:
    if not any(dead):
        return None
    kinds = ["watchpoints"] if dead.changes or dead.accesses else []
    kinds += ["breakpoints"] if dead.code else []
    parts = [
        phrases[part].format_map(_words("breakpoint" if part == "code" else "watchpoint", numbers))
        for part, numbers in dead._asdict().items()
        if numbers
    ]
    return f"hardware {' and '.join(kinds)} do not fire on this machine: {'; '.join(parts)}"


def _words(noun: str, numbers: List[int]) -> Dict[str, str]:
    words = {"numbers": " ".join(map(str, numbers))}
    if len(numbers) == 1:
        one = {"points": f"{noun} {numbers[0]}", "s": "s", "it": "it", "is_": "is"}
        return {**words, **one, "software": "a software watchpoint"}
    points = f"{noun}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"
    return {
        **words,
        "points": points,
        "s": "",
        "it": "them",
        "is_": "are",
        "software": "software watchpoints",
    }
