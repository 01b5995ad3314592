"""Whether GDB has asked for a command since the program ran: from then on what is typed on its
terminal is typed for GDB, before that for the program.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque

# Not empty from when the program goes on until GDB asks for a command; so at the start, too.
_going: Deque[Any] = deque([None], maxlen=1)


def watch(events: Any) -> None:
    """Begin to know. `events`: GDB's. Cheap: it is done for everybody who loads the package."""
    # Methods in C: GDB hands a Ctrl-C that is typed while it lets the program go to the first
    # handler in Python, in which it ends as an exception, and the program would go on.
    events.before_prompt.connect(_going.clear)
    events.cont.connect(_going.append)


def shown() -> bool:
    """Whether it has asked."""
    return not _going
