"""Text without what differs from run to run: addresses, ids, times, and paths of the machine.

As little as possible is hidden, since what is hidden is not compared:

    0x7ffff7d8a6c0   <address>   when it lies in memory that the program had, and only then
    LWP 4711         LWP <id>    likewise `process`, `pid`, `tid` and `ppid`, before a number that
                                 was the id of a process or thread
    12:30:59.25      <time>      times of day and dates in the usual notations
    from /a/b/libc.so.6          from libc.so.6
    the store, the replay's own directory    <store>, <scratch>
"""

from __future__ import annotations

import bisect
import re
from typing import Dict, List, Set, Tuple

_HEX = re.compile(r"\b0x([0-9a-f]{4,16})\b")
_LWP = re.compile(r"\b(LWP|process) \d+\b")
_ID = re.compile(r"\b((?:LWP|process|p?pid|tid|PID|TID)(?: |=|: ?|#))(\d+)\b")
# A frame in a library without debug information.
_FROM = re.compile(r"(\) from )/(?:[^/\s]+/)*([^/\s]+)$", re.MULTILINE)
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:[.,]\d+)?"
_ZONE = r"(?:Z|[+-]\d\d:?\d\d| (?:UTC|GMT|[A-Z]{3,4}))?"
_DATE = r"\d{4}[-/](?:0[1-9]|1[0-2])[-/](?:0[1-9]|[12]\d|3[01])"
_TIMES = re.compile(
    rf"(?<![\w.:]){_DATE}(?:[T ]{_CLOCK}{_ZONE})?(?![\w:])"
    rf"|{_DAY},? {_MONTH} [ \d]\d {_CLOCK}(?: [A-Z]{{3,4}})? \d{{4}}"
    rf"|{_DAY}, \d\d {_MONTH} \d{{4}} {_CLOCK}{_ZONE}"
    rf"|(?<![\w.:]){_CLOCK}(?![\w:])"
)


class Noise:
    """What is known to differ: where the program's memory is, its ids,
    and paths of this machine.
    """

    def __init__(self) -> None:
        self.ranges: Set[Tuple[int, int]] = set()
        self.ids: Set[int] = set()
        self._paths: Dict[str, str] = {}

    def hide(self, path: str, name: str) -> None:
        """Have `path` appear as `name`."""
        self._paths[path.rstrip("/")] = name

    def without(self, text: str, *, of_gdb: bool) -> str:
        """`text` without it. `of_gdb`: it was printed by GDB, not by the program."""
        for path in sorted(self._paths, key=len, reverse=True):
            text = re.sub(re.escape(path) + r"(?![\w.-])", self._paths[path], text)
        if of_gdb:
            text = _FROM.sub(r"\1\2", text)
            text = _LWP.sub(r"\1 <id>", text)
        text = _ID.sub(self._id, text)
        text = _TIMES.sub("<time>", text)
        starts, ends = self._merged()

        def address(match: "re.Match[str]") -> str:
            value = int(match.group(1), 16)
            at = bisect.bisect_right(starts, value) - 1
            return "<address>" if at >= 0 and value <= ends[at] else match.group(0)

        return _HEX.sub(address, text)

    def _id(self, match: "re.Match[str]") -> str:
        return f"{match.group(1)}<id>" if int(match.group(2)) in self.ids else match.group(0)

    def _merged(self) -> Tuple[List[int], List[int]]:
        starts: List[int] = []
        ends: List[int] = []
        for start, end in sorted(self.ranges):
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        return starts, ends
