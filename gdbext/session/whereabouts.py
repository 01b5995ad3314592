"""Where a stopped program is, in words that mean the same in another build of it."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import gdb

from ..text import report
from . import settings

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
# What is of no interest in a report, and a runaway recursion has a lot of.
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


def library_of(frame: Any) -> Optional[str]:
    """The file of the library in which a frame is, None for the program's own."""
    pc = frame.pc()
    name: Optional[str] = settings.exact(lambda: gdb.solib_name(pc))
    return name


def place_of(frame: Any) -> Place:
    """Where a frame is."""
    sal = frame.find_sal()
    path = settings.exact(lambda: sal.symtab.filename) if sal.symtab is not None else ""
    file = os.path.basename(path)
    return Place(settings.exact(frame.name) or "", file, int(sal.line) if file else 0)


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
        first = place_of(gdb.newest_frame())
        return next((place_of(each) for each in _own_frames(gdb.NORMAL_FRAME)), first)
    except gdb.error:
        return None


def shown_place() -> str:
    """The selected thread's newest frame in the program's own code whose source is known, in a few
    words: what tells one snapshot from another in a list. Where no function has a name, the address
    and the file. "" when there is nothing to tell.
    """
    places: List[Place] = []
    address = ""
    try:
        address = _address_of(gdb.newest_frame())
        for frame in _own_frames(gdb.NORMAL_FRAME, gdb.INLINE_FRAME):
            places.append(place_of(frame))
            if places[-1].file:
                return places[-1].text
        places.append(place_of(gdb.newest_frame()))
    except gdb.error:
        pass  # a stack that is damaged further out
    return next((place.text for place in places if place.function), address)


def _address_of(frame: Any) -> str:
    """ "0x4662b6 in gawk": where a frame is for which there are no symbols."""
    pc = int(frame.pc())
    name = report.printable(os.path.basename(_mapped_at(int(gdb.selected_inferior().pid), pc)))
    return f"{pc:#x} in {name}" if name else f"{pc:#x}"


def _mapped_at(pid: int, address: int) -> str:
    """What process `pid` has mapped there: a path, or the kernel's word for it; "" for no file."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                addresses, *others = line.rstrip("\n").split(None, 5)
                start, end = (int(each, 16) for each in addresses.split("-"))
                if start <= address < end:
                    return others[4] if len(others) > 4 else ""
    except OSError:
        pass
    return ""


def _own_frames(*kinds: int) -> Iterator[Any]:
    """The selected thread's frames of these kinds that are not in the C library and such. Raises
    gdb.error.
    """
    frame: Any = gdb.newest_frame()
    for _ in range(_FRAMES_LIMIT):
        if frame is None:
            return
        library = library_of(frame)
        runtime = library is not None and _RUNTIME.match(os.path.basename(library))
        if not runtime and frame.type() in kinds and frame.name() not in _RUNTIME_FUNCTIONS:
            yield frame
        frame = frame.older()


def frames() -> List[Dict[str, Any]]:
    """The selected thread's frames, the newest first."""
    return [
        {"level": level, **place_of(frame).table()} for level, frame in enumerate(newest_frames())
    ]


def newest_frames() -> Iterator[Any]:
    """The same as GDB's frames. Raises gdb.error when there are none."""
    frame: Any = gdb.newest_frame()
    for _ in range(_FRAMES_LIMIT):
        if frame is None:
            return
        yield frame
        try:
            frame = frame.older()
        except gdb.error:
            return  # a stack that is damaged further out


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
                    "name": settings.exact(lambda: thread.name) or "",
                    "selected": selected is not None and thread.num == selected.num,
                    **(newest() or Place("", "", 0).table()),
                }
            )
    finally:
        if selected is not None and selected.is_valid():
            selected.switch()
            settings.select_level(level)
    return found


def abort_message() -> str:
    """What the C library has printed before it aborted the program (a failed assertion, a corrupted
    heap), or "".
    """
    try:
        # struct abort_msg_s { unsigned int size; char msg[]; } *__abort_msg, in glibc.
        with settings.language():
            message = gdb.parse_and_eval("*(char **) &__abort_msg")
        if int(message) == 0:
            return ""
        return str((message + 4).string("utf-8", "backslashreplace")).strip()
    except gdb.error:
        return ""
