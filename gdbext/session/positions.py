"""Where the program being debugged is in the history of its snapshots: which one it was restored
from, and at which one it still stands, when nothing has moved it since it was saved or restored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

import gdb

from .. import native
from ..records import Origin, run_id
from ..store.history import Position
from . import life

# The snapshot at which a process is: when it was made, by the process id.
_here: Dict[int, float] = {}
_connected = False


def origin() -> Optional[Origin]:
    """The snapshot from which the program of the selected inferior was restored in this session."""
    return life.origin_of(gdb.selected_inferior())


def arrived(created: float) -> None:
    """The selected inferior's program is as the snapshot made at `created` has it."""
    global _connected
    if not _connected:
        _connected = True
        gdb.events.cont.connect(native.core.keeping_interrupts(_on_moved))
        gdb.events.memory_changed.connect(_on_moved)
        gdb.events.register_changed.connect(_on_moved)
        gdb.events.exited.connect(_on_exited)
    _here[int(gdb.selected_inferior().pid)] = created


def here() -> Optional[float]:
    """When the snapshot was made at which the selected inferior's program is; None for none."""
    return _here.get(int(gdb.selected_inferior().pid))


def left() -> None:
    """The selected inferior's program goes on."""
    _here.pop(int(gdb.selected_inferior().pid), None)


def position() -> Position:
    """That of the selected inferior's program, which must be there."""
    return Position(_run_of(int(gdb.selected_inferior().pid)), origin(), here())


def _run_of(pid: int) -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # The name in parentheses may hold anything; the start time is the 22nd field (proc(5)).
    return run_id(boot, pid, int(status[status.rindex(b")") + 2 :].split()[19]))


def _on_moved(event: Any) -> None:
    # Any of the programs may have gone on with this one.
    if gdb.parameter("schedule-multiple"):
        _here.clear()
    else:
        left()


def _on_exited(event: Any) -> None:
    target = getattr(event, "inferior", None) or gdb.selected_inferior()
    _here.pop(int(target.pid), None)
