"""`ckpt rewind`: a recording becomes what is being debugged, by GDB's remote protocol.

    1. The server is asked, without GDB, whether it can show the recording: until then everything is
       as it was.
    2. The present program is ended, after GDB's own question.
    3. GDB is given the recorded executable, unless it has it already, and connects. A failure puts
       its file back.

GDB finds the libraries where its settings say; the server serves no files, and GDB then takes those
of this machine, which the server has compared with the recorded ones.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import NamedTuple, Optional

import gdb

from .. import native
from ..debugger import replayserver
from ..errors import CkptError
from ..text.timeline import BEGIN, Position
from . import inferior, life, marker, output, recordings, replacing, settings

# Going to the end of a long recording takes its time, and GDB waits for an answer no longer than
# that.
_PATIENCE_S = 1 << 20


class Rewound(NamedTuple):
    """A recording as the user has named it, and where it is."""

    name: str
    position: Position


def rewind(name: str, at: str, ask: bool = True) -> Rewound:
    """Replace the selected inferior by a recording. `at` as `text.timeline.check_start` has it.
    With `ask` GDB's own question comes before the present program is killed.

    Raises CkptError and gdb.error. A failure before the old program is killed leaves it as it was;
    a later one leaves no program.
    """
    server = native.find_program(replayserver.NAME)
    file = os.path.abspath(os.path.expanduser(name))
    replacing.check()
    has_old = bool(gdb.selected_inferior().pid)
    is_old_recording = recordings.is_here()
    # All the way is gone only where something would be lost that cannot be had again.
    examined = replayserver.examine(
        server, at if has_old and not is_old_recording else BEGIN, file
    )
    if at.isdigit() and int(at) > examined.position.events:
        raise CkptError(f"there is no event {at}: the last is {examined.position.events}")
    with ExitStack() as undo:
        # Another position of a recording is not worth a question.
        replacing.end_old_program(ask and not is_old_recording)
        life.forget_libraries()
        _load_executable(examined.program, undo)
        _connect(server, at, file)
        undo.pop_all()
    marker.update()
    return Rewound(name, recordings.position())


def _load_executable(program: str, undo: ExitStack) -> None:
    """`file PROGRAM`, unless it is loaded already."""
    before = inferior.loaded_file()
    if before and os.path.exists(before) and os.path.samefile(before, program):
        return
    undo.callback(_unload, before)
    with settings.unasked(), settings.hooks_silenced("file"):
        settings.quietly(f"file {settings.quoted(program)}")


def _unload(before: Optional[str]) -> None:
    with settings.unasked(), settings.hooks_silenced("file"):
        try:
            settings.quietly(f"file {settings.quoted(before)}" if before else "file")
        except gdb.error:
            pass  # the file that was loaded has gone meanwhile


def _connect(server: "os.PathLike[str]", at: str, file: str) -> None:
    from pathlib import Path

    # GDB closes the descriptors that the shell would inherit.
    with open(os.memfd_create("ckpt-errors"), "w+b", buffering=0) as errors:
        said = f"/proc/{os.getpid()}/fd/{errors.fileno()}"
        target = replayserver.target(Path(server), at, file, said)
        try:
            with ExitStack() as stack:
                stack.enter_context(settings.unasked())
                stack.enter_context(settings.hooks_silenced("target"))
                stack.enter_context(settings.setting("remotetimeout", str(_PATIENCE_S)))
                if not output.interpreter():
                    # Where it is is said later; a front end is told by GDB's own records.
                    stack.enter_context(output.output_hidden())
                stack.enter_context(output.warnings_hidden())
                settings.quietly(f"target remote {target}")
        except BaseException as error:
            _disconnect()
            errors.seek(0)
            problem = replayserver.problem_in(errors.read())
            if problem and isinstance(error, gdb.error):
                raise CkptError(problem if file in problem else f"{file}: {problem}") from None
            raise


def _disconnect() -> None:
    if recordings.is_here():
        with settings.unasked(), output.output_hidden():
            settings.problem_with("disconnect")
