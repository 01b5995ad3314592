"""One of our commands before those that a user has given to breakpoints.

`gdb.execute` runs the commands of the breakpoint that was hit as soon as it has run its own,
wherever it is called; and these may let the program go on. So in the handler of a stop event GDB's
commands can be used only when that breakpoint has none. Otherwise what we have to do must be the
first of them.
"""

from __future__ import annotations

from typing import Any, Iterable, List, NamedTuple


class _Prefixed(NamedTuple):
    point: Any
    before: str
    now: str
    hits: int
    ignored: int  # of the hits to come


class FirstCommand:
    """A command that breakpoints run first, while the program runs."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._prefixed: List[_Prefixed] = []

    def give_to(self, points: Iterable[Any]) -> None:
        """Let these breakpoints have it, and no others. Those without commands do not need it."""
        self.take_back()
        for point in points:
            before = str(point.commands or "")
            if not (before and point.enabled and point.visible):
                continue
            first, _, rest = before.partition("\n")
            if first.strip() == "silent":
                point.commands = f"silent\n{self._command}\n{rest}"
            else:
                point.commands = f"{self._command}\n{before}"
            counts = int(point.hit_count), int(point.ignore_count)
            self._prefixed.append(_Prefixed(point, before, str(point.commands), *counts))

    def take_back(self) -> bool:
        """Give the breakpoints the commands they had, unless the user has changed them meanwhile.
        Whether ours is about to be run: GDB has its own copy of what is to be run at a stop.
        """
        hit = False
        while self._prefixed:
            point, before, now, hits, ignored = self._prefixed.pop()
            if point.is_valid():
                ignored -= int(point.ignore_count)
                hit = hit or int(point.hit_count) > hits + ignored
                if str(point.commands) == now:
                    point.commands = before
        return hit
