"""Questions to the user, as GDB asks its own."""

from __future__ import annotations

import os
import sys

import gdb

from . import show


def confirmed(question: str) -> bool:
    """Whether the user answers with yes. With `set confirm off`, and where the user cannot be
    asked, that is the answer. Raises KeyboardInterrupt.
    """
    if not gdb.parameter("confirm"):
        return True
    if not (os.isatty(0) and os.isatty(1)):
        show(f"{question} (y or n) [answered Y; input not from terminal]")
        return True
    while True:
        gdb.write(f"{question} (y or n) ")
        gdb.flush()
        answer = sys.stdin.readline()
        if not answer:
            show("")
            return False  # an end of file is no permission
        if answer.strip()[:1].lower() in ("y", "n"):
            return answer.strip()[:1].lower() == "y"
        show("Please answer y or n.")
