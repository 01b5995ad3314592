"""The order in which GDB numbers the threads of a process that it attaches to.

GDB numbers the main thread first. The others come in the order in which they were created, or the
other way round: it changed between GDB 13 and 16. A restore has to create the threads accordingly,
so it has to know before it has attached. The first restore of a program with enough threads shows
whether the guess was right, and starts again if not.
"""

from __future__ import annotations

from typing import List, Optional, Sequence

import gdb

from . import inferior

_newest_first: Optional[bool] = None


def newest_first() -> bool:
    """As seen in this session, else a guess."""
    if _newest_first is not None:
        return _newest_first
    major = str(gdb.VERSION).partition(".")[0]
    return major.isdecimal() and int(major) >= 15


def came_out(tids: Sequence[int]) -> bool:
    """Whether GDB, just attached, has numbered the threads in the order of `tids`. If it has done
    so in the opposite order the guess was wrong: the next is not.
    """
    global _newest_first
    seen: List[int] = [inferior.thread_tid(thread) for thread in inferior.ordered_threads()]
    if len(seen) < 3:
        return True
    if seen == list(tids):
        _newest_first = newest_first()
        return True
    if seen == [*tids[:1], *reversed(tids[1:])]:
        _newest_first = not newest_first()
        return False
    return True
