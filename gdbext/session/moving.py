"""`ckpt goto`, `ckpt last`, and `ckpt find` in a recording.

GDB must not be moved behind its back: the server is told where, and GDB's own `reverse-continue`
then goes there, to a stop that is for no reason it knows of.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import Any, Iterator, List, NamedTuple, Optional

import gdb

from ..errors import CkptError, one_line
from ..store.finding import find as bisect
from ..text import timeline
from ..text.timeline import Position
from . import breakpoints, output, recordings, settings, show


def goto(text: str) -> Position:
    """Go to a position as the user writes it. Raises UsageError, CkptError."""
    wanted = timeline.target(text, recordings.position())
    said = _seek(wanted)
    there = recordings.position()
    if not timeline.is_at(wanted, there):
        problem = one_line(said) or f"this leads no further than {timeline.where(there)}"
        raise CkptError(problem)
    if said:
        show(said.rstrip("\n"))
    return there


class LastWrite(NamedTuple):
    """The place before a write, and the values before and behind it."""

    position: Position
    old: str
    new: str


def last(expression: str) -> LastWrite:
    """Go back to the last write that changed a variable. Raises CkptError where there is none, and
    gdb.error; the position is as it was then.
    """
    recordings.check()
    place = _place(gdb.parse_and_eval(expression), expression)
    new = place.format_string()
    address, kind = int(place.address), place.type
    content = _bytes_at(address, int(kind.sizeof))
    with _position_kept() as kept:
        recordings.tell(f"last {address:x} {int(kind.sizeof):x}")
        said = _go()
        before = _bytes_at(address, int(kind.sizeof))
        there = recordings.position()
        # At the begin GDB stops as well, and tells nothing else of it.
        if before == content or (before is None and there.event == 0):
            problem = f"{expression} is not written before this in the recording"
            raise CkptError(one_line(said) or problem)
        kept.pop_all()
    if before is None:
        return LastWrite(there, "<there was no memory>", new)
    old = gdb.Value(address).cast(kind.pointer()).dereference().format_string()
    return LastWrite(there, old, new)


def _bytes_at(address: int, size: int) -> Optional[bytes]:
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except gdb.MemoryError:
        return None


def _place(value: Any, expression: str) -> Any:
    if value.type.strip_typedefs().code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        value = value.referenced_value()
    if value.is_optimized_out or value.address is None or not value.type.sizeof:
        raise CkptError(f"{expression} is not in memory")
    value.fetch_lazy()
    return value


class Found(NamedTuple):
    """Where a condition is true, None for nowhere, and how many events were looked at."""

    position: Optional[Position]
    asked: int


def find(condition: str, last: bool) -> Found:
    """Go to the first event at which a condition is true, or the last, as `finding.find` does.
    Where it is true nowhere the position is as it was. Raises CkptError for a condition that has no
    value anywhere.
    """
    events = recordings.position().events
    problems: List[str] = []

    def ask(index: int) -> bool:
        _seek(str(index))
        try:
            return bool(gdb.parse_and_eval(condition))
        except gdb.error as error:
            # It may be of a library that is loaded later, or of another function.
            problems.append(settings.problem_of(error))
            return False

    with _position_kept() as kept:
        found = bisect(events + 1, ask, last)
        if found.at is None:
            if len(problems) == found.asked:
                raise CkptError(f"{condition}: {problems[0]}")
            return Found(None, found.asked)
        _seek(str(found.at))
        kept.pop_all()
    return Found(recordings.position(), found.asked)


def _seek(position: str) -> str:
    recordings.tell(f"seek {position}")
    return _go()


@contextmanager
def _position_kept() -> Iterator[ExitStack]:
    """Come back to where the recording is now, also between two events, unless the stack that is
    given is emptied.
    """
    thread = gdb.selected_thread()
    number = int(thread.num) if thread is not None else 0
    level = settings.selected_level()
    recordings.tell("keep")

    def return_there() -> None:
        recordings.tell("seek kept")
        _go()
        for each in gdb.selected_inferior().threads():
            if int(each.num) == number:
                each.switch()
        settings.select_level(level)

    with ExitStack() as stack:
        stack.callback(return_there)
        yield stack


def _go() -> str:
    """Let the server go where it was told to. What it says on the way: why it gets no further, or
    what the program has written. Raises KeyboardInterrupt.
    """
    stops: List[Any] = []
    gdb.events.stop.connect(stops.append)
    try:
        with ExitStack() as stack:
            stack.enter_context(settings.unasked())
            stack.enter_context(settings.setting("exec-direction", "forward"))
            stack.enter_context(settings.hooks_silenced("reverse-continue"))
            if not output.interpreter():
                # GDB says "Program stopped."; a front end is told of the stop as of any other.
                stack.enter_context(output.output_hidden())
            said = settings.quietly("reverse-continue")
    finally:
        gdb.events.stop.disconnect(stops.append)
    breakpoints.refresh_watchpoints()
    if stops and getattr(stops[-1], "stop_signal", "") == "SIGINT":
        raise KeyboardInterrupt
    return said
