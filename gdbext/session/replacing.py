"""The end of what is being debugged, so that something else takes its place."""

from __future__ import annotations

import gdb

from ..errors import CkptError
from . import inferior, recordings, settings


def check() -> None:
    """Raise CkptError for modes of GDB in which a program cannot be replaced."""
    if gdb.parameter("non-stop"):
        raise CkptError('non-stop mode is on: "set non-stop off" first')
    target = gdb.selected_inferior()
    kind = _kind()
    if kind in ("remote", "extended-remote") and not recordings.is_here():
        raise CkptError("the target is remote: disconnect first")
    if target.pid and kind != "core":
        if any(thread.is_running() for thread in target.threads()):
            raise CkptError("the program is running: stop it first")
        if not recordings.is_here():
            inferior.check_not_recording()
            inferior.check_no_checkpoints()


def end_old_program(ask: bool) -> None:
    """Kill the current program, after GDB's own question if `ask`, unless there is none."""
    if _kind() == "core":
        # Detaching from a core file loses nothing, so GDB does not ask either.
        settings.quietly("detach")
    elif gdb.selected_inferior().pid:
        try:
            if ask:
                gdb.execute("kill", from_tty=True)
            else:
                with settings.unasked():
                    settings.quietly("kill")
        except gdb.error as error:
            if "Not confirmed" in str(error):
                raise CkptError("not confirmed: the program is as it was") from None
            raise


def _kind() -> str:
    return str(getattr(getattr(gdb.selected_inferior(), "connection", None), "type", ""))
