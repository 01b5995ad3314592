"""The symbols of the program that a restore ends, kept until the restored one has the same.

GDB forgets the files of libraries, with all that it has read from them, when it attaches; and
reading them again is most of a restore. But programs share what is read from one file. So an
inferior without a program has the old one's files open meanwhile. Two things come with it:

 1. Breakpoints are looked for in that inferior, too. Those locations go with it, and a front end is
    told of what has changed in the end, if anything.
 2. GDB deletes all displays with the symbols of any program, and new ones have other numbers. So it
    is not done when there are any.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Dict, Iterator, List, Optional, Sequence

import gdb

from ..debugger import mi
from . import debugger, output, settings

# What happens in the inferior is not reported.
_EVENTS = (
    "new_inferior", "inferior_deleted", "new_objfile", "free_objfile", "clear_objfiles",
    "new_progspace", "free_progspace", "breakpoint_modified",
)  # fmt: skip
# Whatever a file brings with it has been loaded for the program.
_AUTO_LOAD = ("gdb-scripts", "python-scripts", "guile-scripts")


class SymbolCache:
    """The files of the selected inferior's program stay open from when this is made to `release`.

    Raises gdb.error, and then there is nothing to release.
    """

    def __init__(self) -> None:
        self._number: Optional[int] = None
        self._breakpoints: Dict[int, bytes] = {}
        files = list(dict.fromkeys(_files()))
        # The executable stays as it is.
        if len(files) > 1 and not debugger.read_displays():
            self._breakpoints = _breakpoints()
            try:
                self._hold(files)
            except BaseException:
                self.release()
                raise

    def _hold(self, files: List[str]) -> None:
        target = int(gdb.selected_inferior().num)
        thread = gdb.selected_thread()
        level = settings.selected_level()
        with ExitStack() as stack:
            _enter_silence(stack)
            settings.quietly("add-inferior -no-connection")
            self._number = max(int(each.num) for each in gdb.inferiors())
            settings.quietly(f"inferior {self._number}")
            try:
                for path in files:
                    # Without types and lines: they are there, and read at need. The name is taken
                    # as it is after "target:"; else links in it are followed, and GDB knows files
                    # by names. One may have gone, or not be what it was.
                    named = settings.quoted(f"target:{path}")
                    settings.problem_with(f"add-symbol-file -readnever {named}")
            finally:
                settings.quietly(f"inferior {target}")
                if thread is not None and thread.is_valid():
                    thread.switch()
                    settings.select_level(level)

    def release(self) -> None:
        """Forget them, unless it is done."""
        number, self._number = self._number, None
        if number is not None:
            with ExitStack() as stack:
                _enter_silence(stack)
                settings.problem_with(f"remove-inferiors {number}")

    def without_own_changes(self, records: Sequence[bytes]) -> List[bytes]:
        """GDB/MI's records from when this was made to `release`, which must be done, without what
        it has changed itself and changed back.
        """
        if not self._breakpoints:
            return list(records)
        now = _breakpoints()
        changed = [line for number, line in now.items() if line != self._breakpoints.get(number)]
        return [each for each in records if not mi.is_of_breakpoint(each)] + changed


def _breakpoints() -> Dict[int, bytes]:
    """What a front end would be told of each of the user's breakpoints, by their numbers."""
    if not output.interpreter():
        return {}
    numbers = [int(each.number) for each in gdb.breakpoints()]
    return {each: mi.modified(output.answer_of(f"-break-info {each}")) for each in numbers}


def _files() -> Iterator[str]:
    """The files from which GDB has read symbols for the selected inferior's program."""
    space = gdb.current_progspace()
    for each in space.objfiles() if space is not None else ():
        path = settings.exact(lambda: each.filename) or ""
        # Not what is in memory only: the kernel's code, or that of a compiler in the program.
        if each.is_valid() and os.path.isabs(path) and os.path.isfile(path):
            yield path


def _enter_silence(stack: ExitStack) -> None:
    stack.enter_context(output.unseen())
    stack.enter_context(settings.unasked())
    stack.enter_context(settings.setting("print inferior-events", "off"))
    for kind in _AUTO_LOAD:
        stack.enter_context(settings.setting(f"auto-load {kind}", "off"))
    stack.enter_context(settings.hooks_silenced("add-symbol-file", "inferior"))
    for name in _EVENTS:
        registry = getattr(gdb.events, name, None)
        if registry is not None:
            stack.enter_context(settings.handlers_silenced(registry))
