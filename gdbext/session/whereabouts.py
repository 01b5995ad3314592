"""Where a stopped program is, in words that mean the same in another build of it."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

import gdb

# The libraries through which a program dies that has found something wrong.
_RUNTIME = re.compile(
    r"(ld-linux|ld-|libc[.-]|libpthread[.-]|libm[.-]|libstdc\+\+|libgcc_s|libasan|libubsan|libtsan)"
)
# In a static program the C library has no file of its own.
_RUNTIME_FUNCTIONS = frozenset(
    {"raise", "abort", "__assert_fail", "__assert_fail_base", "__assert_perror_fail", "gsignal"}
    | {"__pthread_kill_implementation", "__pthread_kill_internal", "pthread_kill", "__libc_message"}
    | {"__fortify_fail", "__chk_fail", "__stack_chk_fail", "malloc_printerr", "_int_free", "kill"}
)
# What nobody looks at in a report, and a runaway recursion has a lot of.
_FRAMES_LIMIT = 200


class Place(NamedTuple):
    """A place in the source: the function, the last component of the file's path, the line; "" and
    0 for what the debug information does not say.
    """

    function: str
    file: str
    line: int

    @property
    def text(self) -> str:
        """As people write it."""
        if self.file and self.line:
            at = f"{self.file}:{self.line}"
            return f"{self.function} at {at}" if self.function else at
        return self.function or "??"

    def table(self) -> Dict[str, Any]:
        """For JSON."""
        return {**self._asdict(), "text": self.text}


def place_of(frame: Any) -> Place:
    """Where a frame is."""
    sal = frame.find_sal()
    file = os.path.basename(sal.symtab.filename) if sal.symtab is not None else ""
    return Place(str(frame.name() or ""), file, int(sal.line) if file else 0)


def newest() -> Optional[Dict[str, Any]]:
    """The selected thread's newest frame."""
    try:
        return place_of(gdb.newest_frame()).table()
    except gdb.error:
        return None


def own() -> Optional[Dict[str, Any]]:
    """The selected thread's newest frame in the program's own code: not in the C library and such,
    in which a program that has found something wrong ends.
    """
    place = own_place()
    return place.table() if place is not None else None


def own_place() -> Optional[Place]:
    """The same as a Place."""
    try:
        frame: Any = gdb.newest_frame()
        first = place_of(frame)
        for _ in range(_FRAMES_LIMIT):
            if frame is None:
                break
            library = gdb.solib_name(frame.pc())
            runtime = library is not None and _RUNTIME.match(os.path.basename(library))
            name = str(frame.name() or "")
            if not runtime and name not in _RUNTIME_FUNCTIONS and frame.type() == gdb.NORMAL_FRAME:
                return place_of(frame)
            frame = frame.older()
        return first
    except gdb.error:
        return None


def frames() -> List[Dict[str, Any]]:
    """The selected thread's frames, the newest first."""
    found: List[Dict[str, Any]] = []
    frame: Any = gdb.newest_frame()
    while frame is not None and len(found) < _FRAMES_LIMIT:
        found.append({"level": len(found), **place_of(frame).table()})
        try:
            frame = frame.older()
        except gdb.error:
            break  # a stack that is damaged further out
    return found


def select(function: str) -> bool:
    """Select the newest frame of `function` in the selected thread; False when there is none."""
    # `frame function` of GDB 13 overlooks frames of optimised code.
    frame: Any = gdb.newest_frame()
    for _ in range(_FRAMES_LIMIT):
        if frame is None:
            break
        if frame.name() == function:
            frame.select()
            return True
        frame = frame.older()
    return False


def threads() -> List[Dict[str, Any]]:
    """The program's threads and where they are. The selection is as before."""
    selected = gdb.selected_thread()
    level = 0
    found = []
    try:
        if selected is not None:
            level = int(gdb.selected_frame().level())
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda each: int(each.num)):
            thread.switch()
            found.append(
                {
                    "number": int(thread.num),
                    "name": str(thread.name or ""),
                    "selected": selected is not None and thread.num == selected.num,
                    **(newest() or Place("", "", 0).table()),
                }
            )
    finally:
        if selected is not None and selected.is_valid():
            selected.switch()
            from .settings import select_level

            select_level(level)
    return found


def abort_message() -> str:
    """What the C library has printed before it aborted the program (a failed assertion, a corrupted
    heap), or "".
    """
    try:
        # struct abort_msg_s { unsigned int size; char msg[]; } *__abort_msg, in glibc.
        message = gdb.parse_and_eval("*(char **) &__abort_msg")
        if int(message) == 0:
            return ""
        return str((message + 4).string("utf-8", "backslashreplace")).strip()
    except gdb.error:
        return ""
