"""Watchpoints and breakpoints of the hardware, on machines where it never stops the program.

Under some hypervisors the debug registers can be set, and nothing comes of it. GDB cannot know, and
misses every change in silence. Whether they work is found out once, when it first matters.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import gdb

from .. import native
from ..debugger import hardware
from ..debugger.debugstate import DebugState
from ..errors import CkptError
from ..records import Record
from . import breakpoints
from .settings import quietly

_works: Optional[hardware.Works] = None


def _dead(points: List[hardware.Point]) -> hardware.Dead:
    global _works
    if points and _works is None:
        found = native.core.debug_registers()
        # What could not be found out is taken to work, and tried again the next time.
        _works = hardware.Works(*found) if found is not None else None
    return hardware.Dead.of(points, _works or hardware.Works())


def _in_use() -> Dict[int, Any]:
    """The user's enabled points that GDB has the hardware look after, by number."""
    return {
        point.number: point for point in breakpoints.users() if point.enabled and _command(point)
    }


def _command(point: Any) -> str:
    for constant, command in (
        ("BP_HARDWARE_WATCHPOINT", "watch"),
        ("BP_READ_WATCHPOINT", "rwatch"),
        ("BP_ACCESS_WATCHPOINT", "awatch"),
        ("BP_HARDWARE_BREAKPOINT", "hbreak"),
    ):
        if getattr(gdb, constant, None) == point.type:
            return command
    return ""


def _dead_of(points: Dict[int, Any]) -> hardware.Dead:
    return _dead([hardware.Point(number, _command(point)) for number, point in points.items()])


def notes_at_save() -> List[str]:
    """What to tell of the session's points that do not work here."""
    note = hardware.at_save(_dead_of(_in_use()))
    return [note] if note else []


def notes_before_restore(record: Record) -> List[str]:
    """What to tell of the points of a snapshot that will not work here."""
    try:
        saved = DebugState.of(record.session).breakpoints
    except CkptError:
        return []  # a session in a format we do not know
    points = hardware.saved_points(saved, bool(gdb.parameter("can-use-hw-watchpoints")))
    note = hardware.before_restore(_dead(points))
    return [note] if note else []


def replace_dead() -> List[str]:
    """Make software watchpoints of the session's hardware ones if those do not work here; returns
    notes.

    `can-use-hw-watchpoints` stays 0: GDB looks at it again whenever a library is loaded, and would
    take them back. With that, it lets no program run while there is a watchpoint of reads, a
    disabled one included.
    """
    points = _in_use()
    dead = _dead_of(points)
    for number in dead.accesses:
        points[number].delete()
    if dead.changes:
        quietly("set can-use-hw-watchpoints 0")
    for number in dead.changes:
        points[number].enabled = True  # has GDB choose the kind anew
    note = hardware.at_restore(dead)
    return [note] if note else []
