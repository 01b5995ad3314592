"""Values that a program is given after its restore, before it runs on: `ckpt restore -set`.

They are written into its memory or registers. Nothing of the program's is called.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Sequence, Tuple

import gdb

from ..errors import CkptError
from . import settings


# How languages of GDB assign, when not by "=".
_ASSIGNS = {"ada": ":=", "modula-2": ":=", "pascal": ":="}


def assign(changes: Sequence[Tuple[str, str]]) -> None:
    """Give expressions their values, in the selected frame. Raises CkptError for the first that
    cannot be.
    """
    with ExitStack() as stack:
        stack.enter_context(settings.setting("may-call-functions", "off"))
        for name in ("memory_changed", "register_changed"):
            stack.enter_context(settings.handlers_silenced(getattr(gdb.events, name)))
        for expression, value in changes:
            try:
                _assign(expression, value)
            except (CkptError, gdb.error, RuntimeError) as error:
                problem = settings.problem_of(error)
                if "may-call-functions" in problem:
                    problem = "it could only be done by calling a function of the program"
                raise CkptError(f"-set {expression}={value}: {problem}") from None


def _assign(expression: str, value: str) -> None:
    target = gdb.parse_and_eval(expression)
    if _is_text(target.type):
        text = gdb.parse_and_eval(value)
        if _is_text(text.type) and text.address is None:
            _write_text(target, text)
            return
    assigns = _ASSIGNS.get(settings.present_language(), "=")
    gdb.parse_and_eval(f"({expression}) {assigns} ({value})").fetch_lazy()


def _is_text(kind: Any) -> bool:
    kind = kind.strip_typedefs()
    if kind.code != gdb.TYPE_CODE_ARRAY:
        return False
    element = kind.target().strip_typedefs()
    return bool(
        element.sizeof == 1 and element.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_CHAR)
    )


def _write_text(target: Any, text: Any) -> None:
    """Put a string literal into an array, with zeros behind it."""
    low, high = text.type.range()
    content = bytes(int(text[index]) & 0xFF for index in range(low, high + 1))
    room = int(target.type.sizeof)
    if len(content) > room:
        raise CkptError(f"{len(content)} bytes do not fit into {room}")
    if target.address is None:
        raise CkptError("it is not in memory")
    gdb.selected_inferior().write_memory(int(target.address), content.ljust(room, b"\0"))
