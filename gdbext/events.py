"""What scripts can be told of: `gdbext.events.after_save.connect(function)`, like `gdb.events`.

    before_save       About, when the save is about to begin; the program is stopped
    after_save        the record of the save; not called for one that failed
    before_restore    About, when all is checked and the present program is about to be ended
    after_restore     the record of the restore, when the session is complete

A handler that fails is told in one line, and breaks neither the save nor the restore.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, List, NamedTuple

from .errors import one_line

Handler = Callable[[Any], object]


class About(NamedTuple):
    """What is saved or restored: the snapshot's name and file, and the process: the one that is
    saved, that is there before the restore (0: none), or that was restored.
    """

    name: str
    path: Path
    pid: int


class Registry:
    """The handlers of one event."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._handlers: List[Handler] = []

    def connect(self, handler: Handler) -> None:
        """Have `handler` called with the event. Twice is called twice, as in GDB."""
        if not callable(handler):
            raise TypeError(f"a handler of {self.name} must be callable")
        self._handlers.append(handler)

    def disconnect(self, handler: Handler) -> None:
        """Do not call `handler` any more. Raises ValueError for one that is not connected."""
        self._handlers.remove(handler)

    def emit(self, event: Any, tell: Callable[[str], object]) -> bool:
        """Call the handlers in the order they were connected; `tell` gets a line for each that
        fails. Returns whether there were any.
        """
        handlers = list(self._handlers)
        for handler in handlers:
            try:
                handler(event)
            except Exception as error:  # whatever a script does wrong is not ours to fail for
                tell(failure(f"a handler of {self.name}", error))
        return bool(handlers)


def failure(what: str, error: BaseException) -> str:
    """The line that says which of the user's code raised `error`."""
    text = one_line(str(error))
    return f"ckpt: {what} failed: {type(error).__name__}{': ' if text else ''}{text}"


before_save = Registry("before_save")
after_save = Registry("after_save")
before_restore = Registry("before_restore")
after_restore = Registry("after_restore")
