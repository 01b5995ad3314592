"""Snapshots without a process: opened as core files, in inferiors of their own.

A snapshot is a core file, so GDB can open it beside the program that is being debugged. What is to
be kept apart:

 1. The selection, and what the user's hooks and handlers would make of threads and stops that
    are none.
 2. Files. The executable and the libraries must be those of the save. Where they have changed, GDB
    is led to the snapshot's copies by a `sysroot` (see `overlay`). In GDB 13 `set sysroot` loads
    the libraries of the current inferior anew, and loses those of a live one; so it is changed
    only while an inferior without a process is the current one.
 3. Breakpoints. New symbols make GDB look for their locations again, in the new inferior too; those
    go with it.
 4. Displays. GDB deletes them all when it loads a program or forgets one. They are made again, with
    other numbers.
"""

from __future__ import annotations

import itertools
import os
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

import gdb

from ..debugger import sessions
from ..debugger.debugstate import DebugState
from ..errors import CkptError, MissingContentError, SnapshotError
from ..offline import linkmap
from ..offline.snapshot import Snapshot
from ..records import Record
from ..store import overlay
from ..store.finding import Found, find
from ..store.store import Entry, Store
from ..text.progress import Progress
from ..text.report import Answer
from . import debugger, inferior, life, output, settings, show

_numbers = itertools.count(1)

# Events that a core file brings about, and that are not the program's. `new_objfile` is left: there
# the user's pretty-printers may be waiting.
_EVENTS = (
    "stop", "cont", "exited", "new_inferior", "inferior_deleted", "new_thread",
    "connection_removed", "breakpoint_modified", "memory_changed", "register_changed",
)  # fmt: skip


class Files(NamedTuple):
    """The files of a snapshot as GDB is to see them; `libraries` as of `overlay.files_for`."""

    executable: str
    symbols: Optional[str]
    libraries: Dict[str, str]
    debug: Optional[Path]


@contextmanager
def apart() -> Iterator[int]:
    """Work in other inferiors, of which nothing is seen, and come back to the selected one. Gives a
    descriptor for what is to be seen.
    """
    target = gdb.selected_inferior()
    thread = gdb.selected_thread()
    level = settings.selected_level()
    displays = debugger.read_displays()
    with ExitStack() as stack:
        notes: List[str] = []
        stack.callback(lambda: show(*notes))
        stack.enter_context(output.aside())
        stack.enter_context(settings.unasked())
        stack.enter_context(settings.unchosen())
        stack.enter_context(settings.setting("print inferior-events", "off"))
        stack.enter_context(settings.setting("print thread-events", "off"))
        stack.enter_context(settings.hooks_silenced("file", "core-file", "detach", "inferior"))
        for name in _EVENTS:
            registry = getattr(gdb.events, name, None)
            if registry is not None:
                stack.enter_context(settings.handlers_silenced(registry))
        shown = stack.enter_context(output.warnings_hidden())
        try:
            yield shown
        finally:
            select_inferior(int(target.num))
            if thread is not None and thread.is_valid():
                thread.switch()
                # Of a thread that runs there are no frames.
                if not thread.is_running():
                    settings.select_level(level)
            # GDB deletes all displays with the symbols of any program.
            if debugger.read_displays() != displays:
                notes += debugger.apply_displays(DebugState(displays=displays))


def select_inferior(number: int) -> None:
    """Make an inferior the current one."""
    if int(gdb.selected_inferior().num) != number:
        settings.quietly(f"inferior {number}")


class Core:
    """An inferior for snapshots, one after the other. To be used within `apart()`, which gives the
    descriptor `terminal`.
    """

    def __init__(self, store: Store, terminal: int) -> None:
        self._store = store
        self._terminal = terminal
        self._overlay: Optional[Path] = None
        settings.quietly("add-inferior -no-connection")
        self.number = max(int(each.num) for each in gdb.inferiors())

    def select(self) -> None:
        """Make it the current inferior."""
        select_inferior(self.number)

    def open(self, snapshot: Snapshot, record: Record) -> None:
        """Load the snapshot and select what was selected at the save. Raises CkptError, gdb.error.
        """
        self.select()
        self.close()
        with Progress("Checking", self._terminal) as progress:
            try:
                snapshot.verify_memory(progress)
            except SnapshotError:
                if progress.interrupted:
                    raise KeyboardInterrupt from None
                raise
        files = files_of(snapshot, record, self._store)
        if inferior.loaded_file() != files.executable:
            settings.quietly(f"file {settings.quoted(files.executable)}")
        if files.symbols is not None:
            settings.quietly(f"symbol-file {settings.quoted(files.symbols)}")
        with self._shown(files):
            # It takes the rest of its line as it is, quotes and spaces included.
            settings.quietly(f"core-file {snapshot.path}")
        debugger.apply_symbol_files(_state_of(self._store, snapshot.path, record))
        if inferior.select_thread(record.selected_tid):
            settings.select_level(record.selected_frame)

    @contextmanager
    def _shown(self, files: Files) -> Iterator[None]:
        """Have GDB find the libraries and the debug information of a snapshot for a while."""
        sysroot = str(settings.parameter("sysroot") or "")
        ours = life.is_own_sysroot(sysroot)
        if sysroot not in ("", "/", "target:") and not ours:
            # The user's own; libraries are looked for there.
            yield
            return
        with ExitStack() as stack:
            if files.debug is not None:
                value = f"{settings.shown('debug-file-directory')}:{files.debug}"
                stack.enter_context(settings.setting("debug-file-directory", value))
            root = "" if ours else sysroot
            if files.libraries:
                self._store.create()
                scratch = self._store.scratch_directory
                stack.enter_context(life.looking_for(scratch, files.libraries))
                if any(os.path.isabs(name) for name in files.libraries):
                    self._overlay = scratch / f"core-{os.getpid()}-{next(_numbers)}"
                    root = str(overlay.build(self._overlay, None, files.libraries))
            self._set("sysroot", root, stack)
            yield

    def _set(self, name: str, value: str, stack: ExitStack) -> None:
        before = settings.shown(name)
        if value == before:
            return
        stack.callback(_set_nowhere, name, before)
        settings.assign(name, value)

    def close(self) -> None:
        """Let go of the core file, if there is one; the executable stays loaded."""
        if gdb.selected_inferior().pid:
            settings.quietly("detach")
        if self._overlay is not None:
            overlay.remove(self._overlay)
            self._overlay = None

    def remove(self) -> None:
        """Remove the inferior; some other one must exist, and becomes the current one."""
        self.select()
        self.close()
        other = next(int(each.num) for each in gdb.inferiors() if int(each.num) != self.number)
        select_inferior(other)
        settings.quietly(f"remove-inferiors {self.number}")

    def keep(self) -> None:
        """Leave it to the user. What it needs goes when it is removed, or with GDB."""
        if self._overlay is not None:
            life.remove_with(self.number, self._overlay)


@contextmanager
def core(store: Store, terminal: int) -> Iterator[Core]:
    """A Core for a while. To be used within `apart()`."""
    made = Core(store, terminal)
    try:
        yield made
    finally:
        made.remove()


def _set_nowhere(name: str, value: str) -> None:
    """Change a setting about libraries while an inferior that has none is the current one."""
    current = int(gdb.selected_inferior().num)
    thread = gdb.selected_thread()
    settings.quietly("add-inferior -no-connection")
    number = max(int(each.num) for each in gdb.inferiors())
    try:
        select_inferior(number)
        settings.assign(name, value)
    finally:
        select_inferior(current)
        if thread is not None:
            thread.switch()
        settings.quietly(f"remove-inferiors {number}")


def _state_of(store: Store, path: Path, record: Record) -> DebugState:
    try:
        return sessions.taken(store, path, record).state
    except CkptError:
        return DebugState()  # of a format that we do not know: it can be done without


def files_of(snapshot: Snapshot, record: Record, store: Store) -> Files:
    """Where the snapshot's executable and libraries are to be found now. Raises SnapshotError for
    an executable that is nowhere to be had; a library that is not is left to GDB.
    """
    replaced: Dict[str, str] = {}
    program = next(
        (each for each in snapshot.maps if each.path == record.program and each.file), None
    )
    if program is not None and program.file is not None:
        executable = str(snapshot.file(program.file))
    elif os.path.exists(record.program):
        executable = record.program
    else:
        raise MissingContentError(f"{record.program}: the executable is nowhere to be had")
    for mapping in snapshot.maps:
        if mapping.file is None or "x" not in mapping.prot or mapping.path in replaced:
            continue
        try:
            path = str(snapshot.file(mapping.file))
        except MissingContentError:
            continue
        if path != mapping.path:
            replaced[mapping.path] = path
    symbols: Optional[str] = _state_of(store, snapshot.path, record).symbol_file
    if not symbols or executable != record.program or not os.path.exists(symbols):
        symbols = None
    elif os.stat(symbols).st_mtime > record.created:
        symbols = None
    directory = store.debug_directory_of(snapshot.name)
    imported = snapshot.path == store.path_of(snapshot.name) and directory.is_dir()
    # A colon would end it.
    debug = directory if imported and ":" not in str(directory) else None
    libraries = overlay.files_for(dict(linkmap.libraries(snapshot)), replaced)
    return Files(executable, symbols, libraries, debug)


# -- ckpt inspect ----------------------------------------------------------------------------------


class Inspected(NamedTuple):
    """A snapshot that was opened for the user in the inferior `inferior`."""

    name: str
    record: Record
    inferior: int


def inspect(store: Store, name: str) -> Inspected:
    """Open a snapshot in a new inferior, which is then the selected one. The others are as before.

    Raises CkptError, gdb.error; there is no new inferior then.
    """
    name, path = store.resolve(name)
    with Snapshot.open(path, store=store.root) as snapshot:
        record = record_of(path)
        with apart() as terminal:
            made = Core(store, terminal)
            try:
                made.open(snapshot, record)
                thread, level = gdb.selected_thread(), settings.selected_level()
            except BaseException:
                made.remove()
                raise
            made.keep()
    with settings.unasked(), output.output_hidden(), output.warnings_hidden():
        made.select()
        if thread is not None:
            thread.switch()
            settings.select_level(level)
    return Inspected(name, record, made.number)


def record_of(path: Path) -> Record:
    """The record of a snapshot. Raises CkptError."""
    from . import describe

    return describe(path)


# -- ckpt print, ckpt find -------------------------------------------------------------------------


@contextmanager
def visiting(store: Store) -> Iterator[Callable[[Path], None]]:
    """Gives what opens the snapshot at a path, so that GDB looks at it in the frame that was
    selected at the save, until the next one. That raises CkptError and gdb.error.
    """
    with ExitStack() as stack:
        terminal = stack.enter_context(apart())
        # Two in turn: GDB keeps what it has read of a library for as long as any program has it
        # loaded, and reading all debug information anew for each snapshot would take a hundred
        # times longer.
        turns = itertools.cycle([stack.enter_context(core(store, terminal)) for _ in range(2)])

        def visit(path: Path) -> None:
            with Snapshot.open(path, store=store.root) as snapshot:
                next(turns).open(snapshot, record_of(path))

        yield visit


def evaluate(store: Store, names: Sequence[str], expression: str) -> List[Answer]:
    """Evaluate an expression in snapshots."""
    answers: List[Answer] = []
    if not names:
        return answers
    with visiting(store) as visit:
        for name in names:
            created = 0.0
            try:
                name, path = store.resolve(name)
                created = record_of(path).created
                visit(path)
                value = gdb.parse_and_eval(expression)
                answers.append(
                    Answer(name, created, value.format_string(), str(value.type), "")
                )
            except (CkptError, gdb.error) as error:
                answers.append(Answer(name, created, None, None, settings.problem_of(error)))
    return answers


class Search(NamedTuple):
    """A condition looked for in snapshots; `problem` is why it has no value in the first one of
    those in which it has none, "" when there is none.
    """

    found: Found
    problem: str


def search(store: Store, entries: Sequence[Entry], condition: str, last: bool) -> Search:
    """Find the first of `entries` in which a condition is true, or the last; see `finding.find`."""
    problems: List[str] = []
    with visiting(store) as visit:

        def ask(index: int) -> Optional[bool]:
            try:
                visit(entries[index].path)
                return bool(gdb.parse_and_eval(condition))
            except (CkptError, gdb.error) as error:
                problems.append(settings.problem_of(error))
                return None

        found = find(len(entries), ask, last)
    return Search(found, problems[0] if problems else "")
