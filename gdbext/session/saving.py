"""One save: preconditions, what GDB knows, then the native module does the work."""

from __future__ import annotations

import itertools
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Iterator, List, NamedTuple, Optional, Tuple

import gdb

from .. import events, native, plugins
from ..errors import CkptError
from ..records import Fidelity
from ..store.store import Store
from ..text import report
from ..text.progress import Progress
from . import (
    debugger,
    describe,
    hardware,
    inferior,
    positions,
    settings,
    show,
    stopreason,
    typeahead,
    whereabouts,
    width,
)

if TYPE_CHECKING:
    from .. import _native, record_types

_glimpses = itertools.count(1)


class SaveRequest(NamedTuple):
    """What `ckpt save` was asked for. `output` is None for the store; `file_limit_bytes` bounds
    each kept data file; `strict` refuses to save what would not come back as it was. `kind` is a
    word in the name that is chosen when there is none, "" when the user wants to save just here.
    """

    name: Optional[str]
    message: str
    output: Optional[Path]
    force: bool
    file_limit_bytes: int
    strict: bool = False
    kind: str = ""


class Saved(NamedTuple):
    """What a save did. `stop` is where the program stopped in GDB's words, `place` the same in a
    few words.
    """

    name: str
    path: Path
    file_bytes: int
    seconds: float
    threads: int
    stop: str
    fidelity: Tuple[Fidelity, ...]
    notes: Tuple[str, ...]
    place: str
    created: float


def save(store: Store, request: SaveRequest) -> Saved:
    """Save the selected inferior. GDB's state is as before, whether it succeeds or not.

    Raises CkptError for what a user can do something about, and the native module's errors.
    """
    started_s = time.monotonic()
    inferior.check_target()
    store.create()
    name = (
        request.name
        if request.name is not None
        else store.default_name(inferior.program_path(), request.kind)
    )
    store.check_free(name, request.force)
    output = store.path_of(name)
    if request.output is not None:
        output = request.output.expanduser().absolute()
        if output.is_dir():
            raise CkptError(f"{output} is a directory")
        if output.exists() and not request.force:
            raise CkptError(f"{output} exists already; -force replaces it")
    about = events.About(name, output, int(gdb.selected_inferior().pid))
    told = events.before_save.emit(about, show)
    if plugins.call("before_save", about, show) or told:
        inferior.check_target()  # they may have let the program go on
    with settings.selection_kept():
        table, notes = _request(store, request, name, output)
    # The native module holds the store meanwhile; if we held a lock it could not take back what a
    # save has put there that fails.
    with Progress("Saving", cancelled=native.core.take_interrupt) as progress:
        done = native.core.capture(table, progress, inferior.read_code)
    with store.in_use():
        store.register(name, output)
        try:
            store.marks.note_session(table["session"])
        except OSError as error:
            notes.append(f"a restore will take the session for a stranger's: {error.strerror}")
    saved = Saved(
        name=name,
        path=output,
        file_bytes=done["file_bytes"],
        # What the user waited, not only what the native module took.
        seconds=time.monotonic() - started_s,
        threads=done["threads"],
        stop=table["stop"],
        fidelity=tuple(Fidelity(**each) for each in done["fidelity"]),
        notes=tuple(notes),
        place=table["place"],
        created=describe(output).created,
    )
    positions.arrived(saved.created)
    events.after_save.emit(saved, show)
    return saved


@contextmanager
def glimpse(store: Store) -> Iterator[Path]:
    """A snapshot of the selected inferior to look at for a while, that raises no events and
    is in no list. Raises what `save` raises.
    """
    inferior.check_target()
    store.create()
    path = store.scratch_directory / f"live-{os.getpid()}-{next(_glimpses)}.ckpt"
    # Data files are not kept: they are looked at as they are.
    request = SaveRequest("live", "", None, False, 0, kind="live")
    try:
        with settings.selection_kept():
            table, _ = _request(store, request, "live", path)
        with Progress("Looking") as progress:
            native.core.capture(table, progress, inferior.read_code)
        yield path
    finally:
        path.unlink(missing_ok=True)
        store.forget(path)


def told_of(done: Saved) -> str:
    """The line that tells of a save."""
    return report.saved(
        done.name, done.file_bytes, done.seconds, done.threads, done.place, width()
    )


def _not_included(number: int, pid: int, program: str) -> record_types.Finding:
    what = f"process {pid} ({program})" if program else f"process {pid}"
    return {
        "severity": "note",
        "object": f"inferior {number}",
        "kind": "program",
        "text": f"{what} is not part of the snapshot",
    }


def _request(
    store: Store, request: SaveRequest, name: str, output: Path
) -> Tuple[_native.CaptureRequest, List[str]]:
    """The native module's request, and notes. Changes the selection."""
    selected = gdb.selected_thread()
    level = settings.selected_level()
    stop, place = inferior.location(), whereabouts.shown_place()
    origin = positions.origin()
    state, notes = debugger.capture()
    notes += hardware.notes_at_save()
    state = state._replace(stop=stopreason.read())
    threads = inferior.thread_table()
    tid = inferior.thread_tid(selected)
    received = next((each["held_signal"] for each in threads if each["tid"] == tid), 0)
    if received:
        name_of_it = inferior.signal_name(received) or f"signal {received}"
        place = f"{name_of_it} {report.somewhere(place)}" if place else name_of_it
    table: _native.CaptureRequest = {
        "pid": int(gdb.selected_inferior().pid),
        "attached": bool(gdb.selected_inferior().was_attached),
        "output": str(output),
        "store": str(store.root),
        "file_limit": request.file_limit_bytes,
        "strict": request.strict,
        # Under our own name nothing is replaced: another saver may have chosen the same one.
        "overwrite": request.force and (request.name is not None or request.output is not None),
        "name": name,
        "message": request.message,
        "threads": threads,
        "selected": {"tid": tid, "frame": level},
        "stop": stop,
        "place": place,
        "parent": origin.table() if origin is not None else None,
        "findings": [_not_included(*other) for other in inferior.others()],
        "session": state.table(),
        "terminal": inferior.terminal(),
        "input": typeahead.request(look_only=bool(request.kind)),
    }
    return table, notes
