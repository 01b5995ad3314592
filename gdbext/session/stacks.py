"""The stacks of a snapshot, in a GDB that was started to tell them:
see `gdbext/offline/stacks.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List

import gdb

from ..errors import CkptError
from ..offline.snapshot import open_store
from . import inferior, postmortem, whereabouts


def write(plan: str) -> None:
    """Open the snapshot that the plan names, and write the frames of its threads to a file."""
    path, store, output = json.loads(Path(plan).read_text())
    try:
        postmortem.inspect(open_store(Path(store)), path)
    except (CkptError, gdb.error) as error:
        raise gdb.GdbError(str(error)) from None
    found: List[Dict[str, Any]] = []
    for thread in inferior.ordered_threads():
        thread.switch()
        found.append({"tid": inferior.thread_tid(thread), "frames": _frames()})
    Path(output).write_text(json.dumps(found))


def _frames() -> List[Dict[str, Any]]:
    return [
        {
            **whereabouts.place_of(frame)._asdict(),
            "address": int(frame.pc()),
            "library": whereabouts.library_of(frame) or "",
        }
        for frame in whereabouts.newest_frames()
    ]
