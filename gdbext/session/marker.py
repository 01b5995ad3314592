"""The name of the snapshot that the program came from, where one sees it: as $_ckpt, and with `set
ckpt prompt on` in the prompt.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

import gdb

from . import positions, settings

_connected = False


def update(event: Any = None) -> None:
    """Have $_ckpt be that of the selected inferior. From now on also when a program ends, and
    before each prompt.
    """
    global _connected
    if not _connected:
        _connected = True
        gdb.events.before_prompt.connect(update)
        gdb.events.exited.connect(update)
    origin = positions.origin()
    name = origin.name if origin is not None else None
    if _text_of_ours() != name or (name is not None and settings.present_language() != _language):
        _set(name)


def found(name: Optional[str]) -> None:
    """Have $_ckpt_found be what `ckpt find` has found."""
    gdb.set_convenience_variable("_ckpt_found", name)


# What we have set last, and what kind of type GDB gave it. Not its text: GDB 13 dies of the name
# that this type has not, when the language is Pascal.
_name: Optional[str] = None
_type: Optional[Tuple[int, int]] = None
# GDB 16 makes it a text of the present language, and shows it in another as numbers, or not at all.
_language: Optional[str] = None


def _type_of(value: Any) -> Optional[Tuple[int, int]]:
    return (int(value.type.code), int(value.type.sizeof)) if value is not None else None


def _set(name: Optional[str]) -> None:
    global _name, _type, _language
    gdb.set_convenience_variable("_ckpt", name)
    _name, _type = name, _type_of(gdb.convenience_variable("_ckpt"))
    _language = settings.present_language()


def _text_of_ours() -> Optional[str]:
    """What $_ckpt is now; the user may have set it to anything."""
    value = gdb.convenience_variable("_ckpt")
    if value is None:
        return None
    try:
        return str(value.string())
    except gdb.error:
        # A text of another language than C (Fortran's, in GDB 16), which has no such method.
        return _name if _type_of(value) == _type else None


class _Prompt:
    """GDB's prompt with the name before it. GDB keeps what a prompt hook returns as its prompt, and
    gives it to the hook the next time.
    """

    def __init__(self) -> None:
        self._shown: Optional[str] = None  # what GDB has from us
        self._own = ""  # the prompt without the name
        self._others: Optional[Callable[[str], Any]] = None
        self._on = False

    def switch(self, on: bool) -> None:
        """From the next prompt on. The user's own hook goes on making the prompt itself."""
        self._on = on
        if on and gdb.prompt_hook != self._hook:
            self._others = gdb.prompt_hook
            gdb.prompt_hook = self._hook

    def _hook(self, current: str) -> str:
        own = self._own if current == self._shown else current
        made = self._others(own) if self._others is not None else None
        self._own = made if isinstance(made, str) else own
        self._shown = f"{self._mark()}{self._own}" if self._on else self._own
        if not self._on:
            gdb.prompt_hook = self._others
        return self._shown

    @staticmethod
    def _mark() -> str:
        origin = positions.origin()
        if origin is None:
            return ""
        return f"[{origin.name}{'' if positions.here() == origin.created else '+'}] "


_prompt = _Prompt()


def show_in_prompt(on: bool) -> None:
    """`set ckpt prompt`."""
    _prompt.switch(on)
