"""The adapter to GDB: with `load.py` and `commands/_base.py` the only code that imports `gdb`.

GDB itself
    settings, output, asking         changes of its state that undo themselves; output; questions
    parameters                       the values of `set ckpt`
    inferior, threadids, numbering   the program and its threads, as GDB knows them
    positions, marker                the snapshot that the program came from, and where one sees it
The state of the debugger, read for a save and made again by a restore
    debugger, breakpoints, hardware  settings, displays, breakpoints; where the processor has none
    stopreason, whereabouts          why the program stopped, and where, in words
Saving and restoring
    saving                           one save
    restoring, life                  one restore; what a restored program needs from GDB afterwards
    replacing                        the end of what was debugged before
    stoppc, symbolcache, typeahead, owners, editing
                                     steps of a restore
    travel                           to the snapshot before or after
    auto, autostop                   saving without being asked
Recordings
    rewinding                        one becomes what is being debugged
    recordings, moving               what its server says; going to a place in it
Snapshots without a process
    postmortem, stacks               opened as core files, in inferiors of their own
    differing, values                compared by the names of variables
Others
    api, firstcommand                what scripts find in `import gdbext`; what is done later
    serving, afresh, outside         GDB's side of a replay

What is here serves all commands; `saving` and `restoring` are imported by the commands that need
them, so that the first save of a session does not wait for the import of a restore.
"""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional

import gdb

from .. import native
from ..errors import CkptError
from ..records import Record
from ..store.store import Store, default_directory
from ..text import report
from . import settings


def describe(path: Path) -> Record:
    """The record of the image at `path`. Raises CkptError for one that cannot be read."""
    try:
        return Record.of(native.core.describe(str(path)))
    except native.core.NativeError as error:
        raise CkptError(str(error)) from None


def store_directory() -> Path:
    """The store's directory: `set ckpt directory`, else the default."""
    chosen = settings.parameter("ckpt directory")
    if chosen:
        return Path(str(chosen)).expanduser().absolute()
    return default_directory()


def open_store() -> Store:
    """The store that is set now."""
    return Store(store_directory(), describe)


def show(*lines: str) -> None:
    """Print lines through GDB (its pager, its log). Nothing in them drives the terminal."""
    for line in lines:
        gdb.write(report.shown(line) + "\n")


def width() -> Optional[int]:
    """How many columns a line may have, None for any number: `set width`."""
    columns = gdb.parameter("width")
    return int(columns) if isinstance(columns, int) and columns > 0 else None


def expressions(start: str) -> List[str]:
    """The expressions that GDB would make of `start`, as it does for `print`."""
    if not start or any(not character.isprintable() for character in start):
        return []
    command = f"output {start}"
    try:
        lines = str(gdb.execute(f"complete {command}", to_string=True)).splitlines()
    except gdb.error:
        return []
    # The line behind too many begins otherwise.
    return [line[len("output ") :] for line in lines if line.startswith(command)]


def selected_pid() -> int:
    """The process of the selected inferior, 0 for none (a core file's is none, nor is a remote
    target's one of this machine).
    """
    target = gdb.selected_inferior()
    kind = getattr(getattr(target, "connection", None), "type", "")
    return 0 if kind in ("core", "remote", "extended-remote") else int(target.pid)


def current_inferior() -> int:
    """GDB's number of the selected inferior."""
    return int(gdb.selected_inferior().num)
