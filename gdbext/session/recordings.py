"""A recording that GDB debugs through `ckpt-replay-server`: whether there is one, and what its
server tells of it.
"""

from __future__ import annotations

import json
from typing import Any, List, Optional, Tuple

import gdb

from ..debugger import replayserver
from ..errors import CkptError
from ..text.timeline import Mark, Position, marks_of
from . import settings


def is_here(target: Optional[Any] = None) -> bool:
    """Whether an inferior, or the selected one, is a recording."""
    found: Any = getattr(target or gdb.selected_inferior(), "connection", None)
    if found is None or found.type != "remote":
        return False
    return replayserver.is_server(settings.exact(lambda: found.details))


def check() -> None:
    """Raise CkptError unless the selected inferior is a recording, and stopped."""
    if not is_here():
        raise CkptError('no recording is being debugged: "ckpt rewind FILE" first')
    if any(thread.is_running() for thread in gdb.selected_inferior().threads()):
        raise CkptError("the recording is running: stop it first")


def ask(command: str) -> str:
    """What the server answers to a command of `monitor`."""
    with settings.hooks_silenced("monitor"):
        return settings.quietly(f"monitor {command}")


def tell(command: str) -> None:
    """Give the server a command that it answers only where it fails. Raises CkptError."""
    problem = ask(command).strip()
    if problem:
        raise CkptError(problem)


def position() -> Position:
    """Where the recording is. Raises CkptError where there is none."""
    check()
    return Position.of(_table("json position"))


def timeline() -> Tuple[Position, List[Mark]]:
    """Where it is, and its notable events. Raises CkptError where there is none."""
    found = position()
    return found, marks_of(_table("json timeline"))


def _table(command: str) -> Any:
    try:
        return json.loads(ask(command))
    except ValueError:
        return None
