"""What was typed for a program and not read by it.

On a terminal of its own it waits there. On GDB's terminal it is not so simple: GDB reads that
whenever it shows its prompt, and what is typed then is typed for GDB. So after a restore the input
is typed when the program goes on, and what it has not read when it stops is taken back before GDB
would take it for commands, until the next time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Dict, List, Optional

import gdb

from .. import native
from ..debugger import prompt
from . import stoppc

if TYPE_CHECKING:
    from .. import _native

_connected = False


class _Owed:
    """The input that one program is still to get. `typed` is what the terminal has now of it."""

    def __init__(self, inferior_number: int, text: bytes, modes: Optional[Dict[str, Any]]) -> None:
        self.inferior = inferior_number
        self.text = text
        self.modes = modes
        self.typed = False
        self.shown = False


_owed: Dict[int, _Owed] = {}


def request(look_only: bool) -> _native.TerminalInput:
    """What the native module is to do about the terminal's input at a save. With `look_only`
    nothing is taken away from the terminal, not even for a moment.
    """
    owed = _owed.get(int(gdb.selected_inferior().pid))
    return {
        "ours_is_the_programs": not prompt.shown(),
        "look_only": look_only,
        "owed": list(owed.text) if owed is not None else [],
    }


def bring(pid: int, text: bytes, modes: Optional[Dict[str, Any]]) -> List[str]:
    """Have the restored, stopped program `pid` get what had been typed for it. `modes`: those it
    has its terminal in. Returns notes.
    """
    if not text:
        return []
    terminal = _open(pid)
    try:
        if terminal is None:
            return [native.core.cannot_type(text, True)]
        if not native.core.may_type(terminal):
            return [native.core.cannot_type(text, False)]
        if not stoppc.shares_terminal(pid):
            native.core.type_input(terminal, text, True)
            return []
    except native.core.NativeError as error:
        return [f"{native.core.cannot_type(text, False)}: {error}"]
    finally:
        if terminal is not None:
            os.close(terminal)
    _connect()
    _owed[pid] = _Owed(int(gdb.selected_inferior().num), text, modes)
    return []


def _open(pid: int) -> Optional[int]:
    """A descriptor for the terminal that the program reads."""
    try:
        terminal = os.open(f"/proc/{pid}/fd/0", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return None
    if os.isatty(terminal):
        return terminal
    os.close(terminal)
    return None


def _connect() -> None:
    global _connected
    if not _connected:
        _connected = True
        gdb.events.cont.connect(native.core.keeping_interrupts(_on_cont))
        gdb.events.stop.connect(_on_stop)
        gdb.events.exited.connect(_on_exited)


def _on_cont(event: Any) -> None:
    owed = _owed.get(int(gdb.selected_inferior().pid))
    if owed is None or owed.typed:
        return
    core = native.core
    try:
        # In those of the program it is shown as it would have been. GDB's own will do afterwards:
        # it sets the program's in a moment, and nothing that was typed changes by that.
        if owed.modes is not None and not owed.shown:
            core.write_terminal(0, owed.modes)
        core.type_first(0, owed.text, not owed.shown)
        owed.typed = owed.shown = True
    except native.core.NativeError:
        pass  # the terminal has gone away


def _on_stop(event: Any) -> None:
    pid = int(gdb.selected_inferior().pid)
    owed = _owed.get(pid)
    if owed is not None and owed.typed:
        # Without any GDB command: in a handler of stops they run those of the breakpoint.
        _take_back(owed)
        if not owed.text:
            del _owed[pid]


def _on_exited(event: Any) -> None:
    target = getattr(event, "inferior", None)
    for pid, owed in list(_owed.items()):
        if target is not None and owed.inferior == int(target.num):
            if owed.typed:
                _take_back(owed)
            del _owed[pid]


def _take_back(owed: _Owed) -> None:
    """Take what the program has not read from GDB's terminal, and leave what was typed since."""
    core = native.core
    try:
        waiting = core.take_input(0)
        rest = owed.text
        while rest and not waiting.startswith(rest):
            rest = rest[1:]
        owed.text = rest
        owed.typed = False
        core.type_input(0, waiting[len(rest) :], False)
    except native.core.NativeError:
        pass  # the terminal has gone away
