"""Threads with all the ids they go by."""

from __future__ import annotations

from typing import List

import gdb

from .. import native
from ..errors import CkptError
from ..text.report import ThreadRow
from . import inferior, life, settings


def rows() -> List[ThreadRow]:
    """The threads of the selected inferior, in GDB's order. Raises CkptError when there is none.

    The program must be stopped: its memory says which ids it is shown.
    """
    target = gdb.selected_inferior()
    if not target.pid:
        raise CkptError("no program is being debugged")
    kind = getattr(getattr(target, "connection", None), "type", "")
    if kind != "native":
        raise CkptError(f"the threads of a {kind or 'foreign'} target have no ids of this system")
    if any(thread.is_running() for thread in target.threads()):
        raise CkptError("the program is running: stop it first")
    remembered = native.core.remembered_ids(target.pid)
    numbers = life.saved_numbers(target.pid)
    found = []
    with settings.selection_kept():
        for thread in inferior.ordered_threads():
            tid = inferior.thread_tid(thread)
            found.append(
                ThreadRow(
                    int(thread.global_num),
                    numbers.get(tid),
                    settings.exact(lambda: thread.name) or "",
                    inferior.pthread(thread),
                    int(remembered.get(tid, tid)),
                    tid,
                )
            )
    return found
