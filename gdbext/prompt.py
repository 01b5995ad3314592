"""Whether GDB has asked for a command since the program ran: from then on what is typed on its
terminal is typed for GDB, before that for the program.
"""

from __future__ import annotations

from typing import Any

shown = False


def watch(events: Any) -> None:
    """Begin to know. `events`: GDB's. Cheap: it is done for everybody who loads the package."""
    events.before_prompt.connect(_on_prompt)
    events.cont.connect(_on_cont)


def _on_prompt() -> None:
    global shown
    shown = True


def _on_cont(event: Any) -> None:
    global shown
    shown = False
