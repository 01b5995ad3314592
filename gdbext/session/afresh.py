"""Looking at a snapshot before a replay, and starting another build of its program as the saved one
was started.

The program is started by `regression/starter.py`, GDB's exec wrapper here: it sets up arguments,
environment, directory and standard streams as its list says, and becomes the program.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

import gdb

from .. import native
from ..debugger import sessions, trust
from ..debugger.debugstate import DebugState
from ..errors import CkptError, MissingContentError
from ..offline import bundle, linkmap
from ..offline.saved import SavedDescriptor
from ..offline.snapshot import Snapshot, open_store
from ..store import overlay
from . import describe as record_of
from . import life, settings, store_directory, whereabouts

_BREAKS = frozenset({"break", "hbreak", "tbreak", "thbreak"})
# What of the program's directory is copied for another build of it.
_COPIED_BYTES = 64 << 20
_COPIED_FILES = 2000
_STARTER = Path(__file__).resolve().parents[1] / "regression" / "starter.py"


def describe(name: str, scratch: Path, beside: str) -> Dict[str, Any]:
    """What is to be known of the snapshot `name` (or file, in the directory `beside` first, or
    bundle) before anything is started.

    `streams` says of the standard streams what they were: "terminal", "file", "stream" for one that
    led to another process, or "other" for one that is best left alone.
    """
    path, store = _located(name, scratch, beside)
    with Snapshot.open(path, store=store) as snapshot:
        streams = {str(each.fd): _stream(each) for each in snapshot.files if each.fd <= 2}
        return {
            "path": str(path),
            "store": str(store),
            "name": snapshot.name,
            "program": snapshot.program,
            "cwd": snapshot.cwd,
            "created": snapshot.created,
            "streams": streams,
        }


def _located(name: str, scratch: Path, beside: str) -> Tuple[Path, Path]:
    """The snapshot's file, and the store with what it needs."""
    store = open_store(store_directory())
    known = "/" not in name and store.find(name) is not None
    if beside and not known and os.path.isfile(os.path.join(beside, name)):
        name = os.path.join(beside, name)
    _, path = store.resolve(name)
    if not bundle.is_bundle(path):
        return path, store.root
    private = open_store(scratch / "store")
    return bundle.import_bundle(private, path, name="bundle").path, private.root


def _stream(each: SavedDescriptor) -> str:
    if each.kind == "terminal":
        return "terminal"
    if each.kind in ("file", "stream"):
        return each.kind
    return "other"


# -- what was wrong --------------------------------------------------------------------------------


def post_mortem(path: str, store: str, scratch: str) -> Dict[str, Any]:
    """Where the saved program was, by its snapshot alone: opened as a core file. No process."""
    with Snapshot.open(Path(path), store=store) as snapshot:
        copies = _copies(snapshot)
        executable = copies.get(snapshot.program, snapshot.program)
        held = next((each.held_signal for each in snapshot.threads if each.held_signal), 0)
        caught = snapshot.signals.actions.get(held)
        session = _own_session(path, store)
        replaced = {
            name: copy for name, copy in copies.items() if name != snapshot.program and copy != name
        }
        libraries = overlay.files_for(dict(linkmap.libraries(snapshot)), replaced)
    with _as_core(executable, path, libraries, Path(scratch)):
        own = whereabouts.own()
        message = whereabouts.abort_message()
        condition = _condition_here(session) if not held else ""
    return {
        "own": own,
        "assertion": message,
        "signal": held if caught is None else 0,
        "condition": condition,
    }


def _own_session(path: str, store: str) -> DebugState:
    """The session in a snapshot, as far as GDB may evaluate it."""
    try:
        record = record_of(Path(path))
        return sessions.taken(open_store(Path(store)), Path(path), record).state
    except CkptError:
        return DebugState()  # of a format that we do not know


def conditions_left_out(path: str, store: str) -> List[str]:
    """Notes about the conditions of a stranger's breakpoints, one of which may have been met where
    the snapshot was made.
    """
    try:
        left = sessions.taken(open_store(Path(store)), Path(path), record_of(Path(path))).left
    except CkptError:
        return []  # of a format that we do not know
    conditions = [each for each in left if each.kind == trust.CONDITION]
    return list(trust.left_out_lines(conditions, '-at "LOCATION if CONDITION" gives one'))


def _condition_here(session: DebugState) -> str:
    """The condition of the saved session's breakpoint at which the program had stopped, or ""."""
    try:
        pc = int(gdb.newest_frame().pc())
    except gdb.error:
        return ""  # a core file without a stack
    for each in session.breakpoints:
        if each.enabled and each.condition and each.command in _BREAKS and pc in _places(each.spec):
            return each.condition
    return ""


def _places(spec: str) -> Set[int]:
    """The addresses at which GDB would stop for `break SPEC`."""
    # decode_line() does not skip a function's prologue.
    try:
        made: Any = gdb.Breakpoint(spec, internal=True)
    except (gdb.error, RuntimeError):
        return set()
    try:
        return {int(each.address) for each in getattr(made, "locations", ())}
    finally:
        made.delete()


def _copies(snapshot: Snapshot) -> Dict[str, str]:
    """Where the files that were mapped can be had now."""
    found: Dict[str, str] = {}
    for each in snapshot.maps:
        if each.file is not None and each.path not in found and each.backing == "private-file":
            try:
                found[each.path] = str(snapshot.content_of(each.file))
            except MissingContentError:
                continue
    return found


@contextmanager
def _as_core(
    executable: str, path: str, libraries: Dict[str, str], scratch: Path
) -> Iterator[None]:
    scratch.mkdir(exist_ok=True)
    try:
        settings.quietly(f"file {settings.quoted(executable)}")
        if libraries:
            life.show_libraries(scratch, libraries)
        with life.looking_for(scratch, libraries):
            settings.quietly(f"core-file {path}")
        yield
    finally:
        settings.quietly("core-file")
        life.forget_libraries()
        settings.quietly("file")


# -- another build ---------------------------------------------------------------------------------


def prepare(
    path: str, store: str, scratch: Path, program: Path, streams: Dict[str, str]
) -> List[str]:
    """Make GDB ready to `run` `program` as the saved program was started. Notes about what is not
    as it was.

    `streams`: the paths of what the standard streams are to be.
    """
    notes: List[str] = []
    with Snapshot.open(Path(path), store=store) as snapshot:
        home = scratch / "directory"
        replaced = _private_copies(snapshot, home, scratch / "files", notes)
        argv = [_translated(word, replaced) for word in snapshot.argv]
        environment = {
            name: _translated(value, replaced) for name, value in snapshot.environ.items()
        }
        stdin = streams.get("0") or _stdin(snapshot, scratch, notes)
        _copy_directory(Path(snapshot.cwd), home, notes)
    plan = scratch / "start.json"
    plan.write_text(
        json.dumps(
            {
                "argv": argv,
                "environ": environment,
                "cwd": str(home),
                "streams": {"0": stdin, "1": streams["1"], "2": streams["2"]},
            }
        )
    )
    settings.quietly(f"file {settings.quoted(str(program))}")
    settings.quietly("set startup-with-shell on")
    python = native.python_program()
    words = (python, "-I", "-S", str(_STARTER), str(plan))
    settings.quietly(f"set exec-wrapper {' '.join(shlex.quote(word) for word in words)}")
    settings.quietly("set args")
    return notes


def _private_copies(
    snapshot: Snapshot, home: Path, elsewhere: Path, notes: List[str]
) -> Dict[str, str]:
    """Copies of the data files that the program had open, with what was in them: in `home` those
    that were below its directory. The copies by the files' paths.
    """
    replaced: Dict[str, str] = {}
    for each in snapshot.files:
        file = each.file
        if each.fd <= 2 or each.kind != "file" or file is None or file.deleted:
            continue
        if file.path in replaced:
            continue
        try:
            content = snapshot.content_of(file)
        except MissingContentError as error:
            notes.append(f"{error}: the program finds what is there now")
            continue
        inside = os.path.relpath(file.path, snapshot.cwd)
        if inside.startswith("../"):
            copy = elsewhere / str(len(replaced)) / os.path.basename(file.path)
            if not _mentioned(file.path, snapshot):
                notes.append(
                    f"{file.path}: the program finds what is there now, for neither its arguments "
                    "nor its environment name it"
                )
        else:
            copy = home / inside
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(content, copy)
        replaced[file.path] = str(copy)
    return replaced


def _mentioned(path: str, snapshot: Snapshot) -> bool:
    return any(path in word for word in (*snapshot.argv, *snapshot.environ.values()))


def _translated(word: str, replaced: Dict[str, str]) -> str:
    """`word` with the paths of copied files led to their copies."""
    for path in sorted(replaced, key=len, reverse=True):
        word = re.sub(re.escape(path) + r"(?![\w./-])", lambda _: replaced[path], word)
    return word


class _Copier:
    """Lets everything else in the program's directory be found in `home` as well: as private copies
    as long as they are not too many, then by links.
    """

    def __init__(self) -> None:
        self._left_bytes = _COPIED_BYTES
        self._left_files = _COPIED_FILES
        self.links = False

    def fill(self, real: Path, home: Path) -> None:
        """Fill the directory `home`. Raises OSError when `real` cannot be read."""
        home.mkdir(exist_ok=True)
        entries = sorted(os.scandir(real), key=_size_first)
        for entry in entries:
            here = home / entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            if os.path.lexists(here) and not (is_directory and here.is_dir()):
                continue  # a copy of what the program had open
            try:
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), here)
                    continue
                if is_directory and self._takes(0):
                    self.fill(Path(entry.path), here)
                    continue
                if entry.is_file(follow_symlinks=False):
                    if self._takes(entry.stat(follow_symlinks=False).st_size):
                        shutil.copy2(entry.path, here)
                        continue
                    self.links = True
                elif is_directory:
                    self.links = True
            except OSError:
                pass  # what we may not read, the program may not either
            if not os.path.lexists(here):
                os.symlink(entry.path, here)

    def _takes(self, size: int) -> bool:
        if size > self._left_bytes or self._left_files == 0:
            return False
        self._left_bytes -= size
        self._left_files -= 1
        return True


def _size_first(entry: "os.DirEntry[str]") -> Tuple[int, str]:
    try:
        is_directory = entry.is_dir(follow_symlinks=False)
        return (1 << 62 if is_directory else entry.stat(follow_symlinks=False).st_size, entry.name)
    except OSError:
        return 0, entry.name


def _copy_directory(real: Path, home: Path, notes: List[str]) -> None:
    copier = _Copier()
    try:
        copier.fill(real, home)
    except OSError as error:
        notes.append(f"{real}: {error.strerror}: the program starts in an empty directory")
    if copier.links:
        notes.append(
            f"{real} is large: the program finds some of it through links, and may change it"
        )


def _stdin(snapshot: Snapshot, scratch: Path, notes: List[str]) -> str:
    """A file with the program's standard input, from its beginning."""
    for each in snapshot.files:
        if each.fd != 0:
            continue
        if each.kind == "file" and each.file is not None:
            try:
                content = snapshot.content_of(each.file)
            except MissingContentError as error:
                notes.append(f"standard input: {error}")
                return os.devnull
            copy = scratch / "stdin"
            shutil.copyfile(content, copy)
            return str(copy)
        if each.kind == "path":
            return each.path
        if each.kind != "terminal":
            notes.append("standard input was no file: the program gets none")
    return os.devnull


def resolve(location: str) -> Optional[str]:
    """A place of the saved program, as "FUNCTION at FILE:LINE" or as GDB takes it, in the one that
    is loaded now: the line, or else the function. None when it has neither.
    """
    function, at, line = location.partition(" at ")
    for candidate in (line, function) if at else (location,):
        try:
            if gdb.decode_line(candidate)[1]:
                return candidate
        except gdb.error:
            continue
    return None
