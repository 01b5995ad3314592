"""One restore: check, ask, end the old program, start the saved one parked, attach, finish it, make
the session again.

The order matters. Everything that can be checked is checked while the old program is alive. Between
the start of the parked program and the end of the restore every way out goes through `_undo`, which
leaves no process.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Tuple

import gdb

from .. import events, native, plugins
from ..debugger import launch, mi, sessions, trust
from ..debugger.debugstate import DebugState, Stop
from ..errors import CkptError, LaunchError
from ..offline import linkmap
from ..offline.snapshot import Snapshot
from ..records import Checked, Finished, MovedLock, Origin, Record
from ..store import overlay
from ..store.store import Store
from ..text.progress import Progress
from . import (
    breakpoints,
    debugger,
    editing,
    hardware,
    inferior,
    life,
    marker,
    numbering,
    output,
    positions,
    recordings,
    replacing,
    settings,
    show,
    stoppc,
    stopreason,
    symbolcache,
    typeahead,
)


class RestoreRequest(NamedTuple):
    """What `ckpt restore` was asked for. `target` is a name, a file, or None for the newest
    snapshot; with `ask` GDB's own question comes before the present program is killed. `set` are
    expressions with the values they are to have, as GDB reads them. `trust`: all of the session is
    taken, whichever user has saved it.
    """

    target: Optional[str]
    options: launch.RestartOptions
    session: bool
    ask: bool = True
    set: Tuple[Tuple[str, str], ...] = ()
    trust: bool = False


class Restored(NamedTuple):
    """What a restore did; `ids` is "saved" or "virtual". `stop` is why the program had stopped.
    `seconds`: how long it took, without the time of an answer to a question.
    """

    name: str
    record: Record
    pid: int
    ids: str
    notes: Tuple[str, ...]
    stop: Stop
    seconds: float = 0.0


def restore(store: Store, request: RestoreRequest) -> Restored:
    """Replace the selected inferior by a snapshot. Raises CkptError, gdb.error and the native
    module's errors.

    A failure before the old program is killed leaves it as it was; a later one leaves no program.
    """
    watch = _Watch()
    name, path = store.resolve(request.target)
    with _opened(path) as image:
        return _restore(store, request, name, path, image, watch)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """A descriptor of the snapshot, for all that reads it:
    its name may lead to another one soon.
    """
    try:
        # Not to wait for the writer of a FIFO: the reader says that it is no regular file.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise CkptError(f"{path}: {error.strerror}") from None
    try:
        yield fd
    finally:
        os.close(fd)


class _Watch:
    """Time that a restore takes, in seconds, without that of a user who answers a question."""

    def __init__(self) -> None:
        self._begin_s = time.monotonic()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Do not count meanwhile."""
        from_s = time.monotonic()
        try:
            yield
        finally:
            self._begin_s += time.monotonic() - from_s

    def seconds(self) -> float:
        """What has passed."""
        return time.monotonic() - self._begin_s


def _restore(
    store: Store, request: RestoreRequest, name: str, path: Path, image: int, watch: _Watch
) -> Restored:
    record = Record.of(native.core.describe(str(path), fd=image))
    session = sessions.NOTHING
    if request.session:
        session = sessions.taken(store, path, record, image, request.trust)
    helper = native.find_program("ckpt-restart")
    replacing.check()
    # The store may not exist: a snapshot is a file like any other.
    if store.check():
        store.claim(path, record)
    with store.in_use() if store.check() else nullcontext():
        with Progress("Checking") as progress:
            checked = Checked.of(
                native.core.validate(
                    str(path), request.options.table(_ending()), progress, fd=image
                )
            )
        told = tuple(trust.left_out_lines(session.left, "-trust takes it"))
        checked = checked._replace(notes=checked.notes + told)
        events.before_restore.emit(
            events.About(name, path, int(gdb.selected_inferior().pid)), show
        )
        with settings.exits_withheld(), ExitStack() as undo:
            place = _Place()
            undo.callback(place.reveal)
            with place.kept():
                symbols = symbolcache.SymbolCache()
                undo.callback(symbols.release)
                with watch.held():
                    replacing.end_old_program(request.ask)
                life.forget_libraries()
            made = _Restore(
                store, path, image, record, checked, session.state, request, helper, undo, place,
                symbols,
            )  # fmt: skip
            restored = made.run(name)._replace(seconds=watch.seconds())
    plugins.call("after_restore", events.About(name, path, restored.pid), show)
    events.after_restore.emit(restored, show)
    return restored


def _ending() -> List[int]:
    """Processes that the restore ends: the program need not be kept apart from them."""
    target = gdb.selected_inferior()
    is_core = getattr(getattr(target, "connection", None), "type", "") == "core"
    is_process = target.pid and not is_core and not recordings.is_here()
    return [int(target.pid)] if is_process else []


class _OtherNumbers(LaunchError):
    """GDB has numbered the threads in another order than expected; nothing is left."""


class _Place:
    """The place of the program in GDB as a front end sees it: the records of GDB/MI that tell of
    one program's end and of another one's beginning are kept back until the latter is there.
    """

    def __init__(self) -> None:
        self._records: List[bytes] = []
        self._was_taken = gdb.selected_inferior().pid != 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep back what GDB writes meanwhile, if a front end reads it.
        No program may be started.
        """
        if not output.interpreter():
            yield
            return
        lines: List[bytes] = []
        try:
            with output.held() as lines:
                yield
        finally:
            self._records += lines

    def forget(self, symbols: symbolcache.SymbolCache) -> None:
        """Release them, and let a front end know nothing of it."""
        with self.kept():
            symbols.release()
        self._records = symbols.without_own_changes(self._records)

    def reveal(self, helper: Optional[int] = None) -> None:
        """Let a front end see it. `helper` is a process id: that of the helper that has brought the
        new program. None: there is none.
        """
        if not output.interpreter():
            return
        records, self._records = self._records, []
        if helper is not None and self._was_taken:
            group = max(int(each.num) for each in gdb.inferiors()) + 1
            records = mi.replacement(records, group, helper)
        output.write(records)


class _Restore:
    """The steps after the old program is gone, with what they share."""

    def __init__(
        self,
        store: Store,
        path: Path,
        image: int,
        record: Record,
        checked: Checked,
        state: DebugState,
        request: RestoreRequest,
        helper: Path,
        undo: ExitStack,
        place: _Place,
        symbols: symbolcache.SymbolCache,
    ) -> None:
        self._store = store
        self._path = path
        self._image = image
        self._record = record
        self._checked = checked
        self._state = state
        self._request = request
        self._helper = helper
        self._undo = undo
        self._place = place
        self._symbols = symbols
        self._notes: List[str] = list(checked.notes)
        # Where GDB finds what it would not by itself.
        self._libraries: Dict[str, str] = {}

    def run(self, name: str) -> Restored:
        """All of it, in order."""
        with self._place.kept():
            self._show_debug_files(name)
            self._load_executable()
            self._show_libraries()
        parked = self._start()
        try:
            with self._place.kept():
                finished = self._take_over(parked)
        except _OtherNumbers:
            parked = self._start()
            with self._place.kept():
                finished = self._take_over(parked)
        self._place.forget(self._symbols)
        if self._request.set:
            tids = {thread.saved_tid: thread.tid for thread in finished.threads}
            self._select(tids)
            # As the user will find it who types the same after the restore.
            with settings.language(self._state.language or settings.shown("language")):
                editing.assign(self._request.set)
        # From here on the program is whole: what goes wrong now is a note, not a reason to kill it.
        parked.go()
        self._undo.pop_all()
        self._place.reveal(parked.helper)
        life.adopt(
            parked.pid,
            parked.helper,
            {each.tid: each.number for each in finished.threads if each.number},
            self._path,
            Origin(name, self._record.created),
            finished.ids,
        )
        if self._request.options.stdin is None:
            self._notes += typeahead.bring(
                parked.pid, self._record.terminal_input, self._record.terminal
            )
        try:
            self._remake_session(finished, parked.locks)
            self._note_newer_sources()
        except gdb.error as error:
            self._notes.append(f"the session is incomplete: {settings.problem_of(error)}")
        if not (self._request.set or self._request.options.env):
            positions.arrived(self._record.created)
        marker.update()
        return Restored(
            name,
            self._record,
            parked.pid,
            finished.ids,
            tuple(dict.fromkeys(self._notes)),
            stopreason.now(self._record, self._saved_state()),
        )

    # -- before there is a process -----------------------------------------------------------------

    def _show_debug_files(self, name: str) -> None:
        """Let GDB find the debug information that came with an imported snapshot."""
        directory = self._store.debug_directory_of(name)
        # A colon would end it.
        if self._path != self._store.path_of(name) or ":" in str(directory):
            return
        if directory.is_dir():
            self._undo.callback(life.forget_debug_files)
            life.show_debug_files(directory)

    def _load_executable(self) -> None:
        """`file EXECUTABLE`, unless it is loaded already, and the symbol file if it was another;
        put back on failure.
        """
        wanted = self._checked.executable
        before = inferior.loaded_file()
        symbols = self._symbol_file()
        loaded = before and os.path.exists(before) and os.path.samefile(before, symbols or wanted)
        if loaded:
            return
        self._undo.callback(self._unload, before)
        with settings.unasked():
            settings.quietly(f"file {settings.quoted(wanted)}")
            if symbols:
                settings.quietly(f"symbol-file {settings.quoted(symbols)}")

    def _symbol_file(self) -> Optional[str]:
        """The file the symbols came from when it was not the executable, and is as it was."""
        path = self._state.symbol_file
        if not path or self._checked.executable_replaced:
            return None
        if not os.path.exists(path):
            self._notes.append(f"the symbol file {path} is gone: symbols come from the executable")
            return None
        if _modified_s(path) > self._record.created:
            self._notes.append(
                f"the symbol file {path} is newer than the snapshot: "
                "symbols come from the executable"
            )
            return None
        return path

    @staticmethod
    def _unload(before: Optional[str]) -> None:
        with settings.unasked():
            try:
                settings.quietly(f"file {settings.quoted(before)}" if before else "file")
            except gdb.error:
                pass  # the file that was loaded has gone meanwhile

    def _show_libraries(self) -> None:
        """Let GDB find libraries that changed or vanished, or whose names lead elsewhere by now."""
        replaced = {library.path: library.copy for library in self._checked.libraries}
        with Snapshot.of(self._image, self._path, self._store.root) as snapshot:
            names = dict(linkmap.libraries(snapshot))
        files = overlay.files_for(names, replaced)
        if not files and self._checked.hidden:
            # GDB would look as the program does, which it may not.
            files = {name: path for name, path in names.items() if os.path.isabs(name)}
        if not files:
            return
        root = str(settings.parameter("sysroot") or "")
        if root not in ("", "/", "target:"):
            self._notes.append(
                f'sysroot is "{root}": libraries are looked for there, not in the snapshot'
            )
            return
        self._undo.callback(life.forget_libraries)
        self._store.create()
        try:
            life.show_libraries(self._store.scratch_directory, files)
        except OSError as error:
            raise CkptError(f"{error.filename}: {error.strerror}") from None
        self._libraries = files

    def _saved_state(self) -> DebugState:
        # Also with -no-session: for what is about the program. A session in a format we do not know
        # is no reason to fail.
        try:
            return DebugState.of(self._record.session)
        except CkptError:
            return DebugState()

    # -- the process -------------------------------------------------------------------------------

    def _start(self) -> launch.Parked:
        terminal = str(settings.parameter("inferior-tty") or "") or None
        with Progress("Restoring") as progress:
            parked = launch.start(
                self._helper,
                self._path,
                self._request.options,
                terminal,
                progress,
                numbering.newest_first(),
                self._image,
            )
        self._undo.callback(parked.abandon)
        self._notes += parked.notes
        return parked

    def _take_over(self, parked: launch.Parked) -> Finished:
        """Attach to the parked program and give its threads their final state."""
        with ExitStack() as stack:
            stack.enter_context(settings.unasked())
            stack.enter_context(output.output_hidden())
            # The user's file was chosen on purpose; GDB would take /proc/PID/exe when it thinks
            # they differ.
            stack.enter_context(settings.setting("exec-file-mismatch", "off"))
            stack.enter_context(debugger.displays_silenced())
            stack.enter_context(settings.language())
            stack.enter_context(settings.hooks_silenced("stop", "attach", "continue"))
            for name in ("stop", "cont", "register_changed", "memory_changed"):
                stack.enter_context(settings.handlers_silenced(getattr(gdb.events, name)))
            self._undo.callback(_kill_attached, parked.pid)
            self._undo.callback(self._place.reveal)
            stack.enter_context(life.looking_for(self._store.scratch_directory, self._libraries))
            try:
                settings.quietly(f"attach {parked.pid}")
            except gdb.error as error:
                raise LaunchError(
                    f"attach to process {parked.pid}: {settings.problem_of(error)}"
                ) from None
            self._check_attached(parked)
            if not numbering.came_out(parked.tids):
                _kill_attached(parked.pid)
                parked.abandon()
                raise _OtherNumbers("GDB numbers threads now in one order and now in the other")
            self._show_stop(parked)
            finished = Finished.of(
                native.core.finish(str(self._path), list(parked.tids), fd=self._image)
            )
            inferior.flush_caches()
        return finished

    def _show_stop(self, parked: launch.Parked) -> None:
        """Let GDB know where the saved thread stopped; before its registers and siginfo are final.
        """
        tids = [thread.tid for thread in self._record.threads]
        index = tids.index(self._record.selected_tid) if self._record.selected_tid in tids else 0
        if index < len(parked.tids):
            address = self._record.threads[index].pc
            stoppc.show_stop(parked.pid, parked.tids[index], address, self._record.terminal)

    @staticmethod
    def _check_attached(parked: launch.Parked) -> None:
        target = gdb.selected_inferior()
        if target.pid != parked.pid:
            raise LaunchError(f"GDB attached to process {target.pid} and not to {parked.pid}")
        seen = {inferior.thread_tid(thread) for thread in target.threads()}
        lost = [tid for tid in parked.tids if tid not in seen]
        if lost:
            raise LaunchError(f"GDB did not find thread {lost[0]} of process {parked.pid}")

    # -- the session -------------------------------------------------------------------------------

    def _remake_session(self, finished: Finished, locks: Tuple[MovedLock, ...]) -> None:
        tids = {thread.saved_tid: thread.tid for thread in finished.threads}
        numbers = _number_map(finished)
        if self._request.session:
            self._notes += debugger.apply_settings(self._state)
            self._notes += debugger.apply_symbol_files(self._state)
        if locks:
            from . import owners

            owners.put_back_lookalikes(locks)
        for tid, number in finished.held:
            self._queue_signal(tid, number)
        self._select(tids)
        breakpoints.refresh_watchpoints()
        if self._request.session:
            # The expressions were set in that language, whatever this session has.
            with settings.language(self._state.language or "auto"):
                self._notes += breakpoints.make(
                    self._state.breakpoints, tids, numbers, self._request.trust
                )
                self._select(tids)
                self._notes += debugger.apply_displays(self._state)
        self._notes += hardware.replace_dead()
        self._select(tids)
        if any(thread.ended for thread in self._record.threads):
            self._notes.append("the main thread had ended: it is shown until the program goes on")
        self._note_renumbered(numbers)

    def _queue_signal(self, tid: int, number: int) -> None:
        name = inferior.signal_name(number)
        if name is None or not inferior.select_thread(tid):
            self._notes.append(f"signal {number} held for thread {tid} could not be queued")
            return
        try:
            settings.quietly(f"queue-signal {name}")
        except gdb.error as error:
            self._notes.append(
                f"{name} held for thread {tid} could not be queued: {settings.problem_of(error)}"
            )

    def _select(self, tids: Dict[int, int]) -> None:
        saved = self._record.selected_tid
        if inferior.select_thread(tids.get(saved, saved)) and not settings.select_level(
            self._record.selected_frame
        ):
            settings.select_level(0)

    def _note_renumbered(self, numbers: Dict[int, int]) -> None:
        moved = [
            f"{before} is now {now}" for before, now in sorted(numbers.items()) if before != now
        ]
        if moved:
            self._notes.append(
                f"GDB numbers threads anew: thread {', '.join(moved[:8])}"
                f"{'...' if len(moved) > 8 else ''}"
            )

    def _note_newer_sources(self) -> None:
        """Say so when a source file on the stack changed since the save: GDB shows the new text at
        old line numbers.
        """
        seen: Dict[str, bool] = {}
        for level in range(_SOURCE_LEVELS):
            frame = settings.frame_at(level)
            if frame is None:
                break
            try:
                symtab = frame.find_sal().symtab
                path = settings.exact(symtab.fullname) if symtab is not None else None
            except gdb.error:
                break
            if path and path not in seen:
                seen[path] = _modified_s(path) > self._record.created
        self._notes += [
            f"{path} is newer than the snapshot: lines may not match"
            for path, newer in seen.items()
            if newer
        ]


# Frames further out are seldom looked at, and unwinding costs.
_SOURCE_LEVELS = 20


def _modified_s(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _number_map(finished: Finished) -> Dict[int, int]:
    """Saved thread numbers (GDB's global ones) to present ones: gaps close, GDB numbers from 1 on
    attach.
    """
    present = {
        inferior.thread_tid(thread): int(thread.global_num)
        for thread in gdb.selected_inferior().threads()
    }
    # Number 0: no GDB saved it, or its main thread had ended before.
    return {
        thread.number: present[thread.tid]
        for thread in finished.threads
        if thread.number and thread.tid in present
    }


def _kill_attached(pid: int) -> None:
    """Undo: kill the program if GDB is attached to it; else its helper does."""
    target = gdb.selected_inferior()
    if target.pid != pid:
        return
    with settings.unasked(), settings.hooks_silenced("kill"):
        try:
            settings.quietly("kill")
        except gdb.error:
            pass  # it died by itself


def print_location() -> None:
    """Print where the selected thread is, as GDB does: the frame, the source line, and the
    displays.
    """
    gdb.execute("frame")
    if debugger.read_displays():
        gdb.execute("display")
