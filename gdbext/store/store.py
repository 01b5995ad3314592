"""The store: which snapshots there are, which one a name means, and which kept files are still
needed.

native/store/ has the rules: where it is, what lies where in it, whom it must belong to, what its
snapshots are called, and how it is locked. Here is what only GDB and the program `ckpt` need.

Saving and restoring hold the store, collecting has it for itself alone: an object may be in use by
an image that is not yet in place.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from .. import native
from ..errors import CkptError, StoreError
from ..records import Record
from . import marks, sweeping
from .naming import check_name, is_pattern, matches, store_errors

Describe = Callable[[Path], Record]


def default_directory() -> Path:
    """Where the store is by default: $CKPT_DIR, else $XDG_DATA_HOME/ckpt, else
    ~/.local/share/ckpt. Raises StoreError.
    """
    with store_errors():
        return Path(native.core.store_default_directory())


class Entry(NamedTuple):
    """A snapshot of the store. `record` is None when the image cannot be read; `problem` then says
    why.
    """

    name: str
    path: Path
    external: bool
    record: Optional[Record]
    problem: str
    # When this store has learned of it, in Unix seconds; None for one of its own.
    noted: Optional[float] = None

    @property
    def target(self) -> str:
        """What `Store.resolve` takes for it."""
        return str(self.path) if self.external else self.name

    @property
    def created(self) -> float:
        """When it was saved, in Unix seconds; the file's time when the image cannot be read. Of a
        file elsewhere its own word is taken for times up to when the store learned of it.
        """
        if self.record is not None:
            created = self.record.created
            return created if self.noted is None else min(created, self.noted)
        try:
            return self.path.stat().st_mtime
        except OSError:
            return 0.0


class Deleted(NamedTuple):
    """What a deletion did: the names, the bytes given back, and why kept files could not be
    collected, if so.
    """

    names: Tuple[str, ...]
    freed_bytes: int
    kept_because: str


class Collected(NamedTuple):
    """What a collection removed: the number of kept files, the bytes given back, and why there was
    none, if so.
    """

    objects: int
    freed_bytes: int
    kept_because: str


class _Reading:
    """The records of snapshots, each read once in the course of one look at the store."""

    def __init__(self, describe: Describe) -> None:
        self._describe = describe
        self._read: Dict[str, Tuple[Optional[Record], str]] = {}

    def _record(self, path: str) -> Tuple[Optional[Record], str]:
        if path not in self._read:
            try:
                self._read[path] = self._describe(Path(path)), ""
            except CkptError as error:
                self._read[path] = None, str(error)
        return self._read[path]

    def said_name(self, path: str) -> str:
        """What a snapshot says that it is called."""
        record, _ = self._record(path)
        return record.name if record is not None else ""

    def entry(self, name: str, path: str, noted: Optional[float]) -> Entry:
        """What the native module has found."""
        record, problem = self._record(path)
        return Entry(name, Path(path), noted is not None, record, problem, noted)


class Store:
    """The store in one directory. `describe` reads an image's record; it raises CkptError for one
    it cannot read.
    """

    def __init__(self, root: Path, describe: Describe) -> None:
        self.root = root
        self._describe = describe

    def _part(self, name: str) -> Path:
        return Path(native.core.store_layout(self.root)[name])

    def _holds(self, path: Path) -> bool:
        return bool(native.core.store_holds(self.root, path))

    @property
    def marks(self) -> marks.Marks:
        """What is known of who has saved what."""
        return marks.Marks(self._part("sessions"), self._part("imported"))

    @property
    def scratch_directory(self) -> Path:
        """Where a running restore may put what it needs."""
        return self._part("scratch")

    def debug_directory_of(self, name: str) -> Path:
        """Where separate debug information that was imported with the snapshot `name` is, laid out
        as GDB's `debug-file-directory`; it is not there for most snapshots.
        """
        return self._part("debug") / name

    # -- the directory -----------------------------------------------------------------------------

    def check(self) -> bool:
        """Whether the store exists. Raises StoreError when it does but is not the user's own."""
        with store_errors():
            return bool(native.core.store_check(self.root))

    def create(self) -> None:
        """Make the store if it is not there, and make sure it can be written to. Raises StoreError.
        """
        with store_errors():
            native.core.store_create(self.root)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the store: nothing that this save or restore counts on is collected meanwhile."""
        with store_errors():
            fd = native.core.store_hold(self.root)
        try:
            yield
        finally:
            if fd is not None:
                os.close(fd)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Have the store for oneself alone; False if another process holds it."""
        with store_errors():
            fd = native.core.store_hold_alone(self.root)
        try:
            yield fd is not None
        finally:
            if fd is not None:
                os.close(fd)

    # -- looking -----------------------------------------------------------------------------------

    def entries(self) -> List[Entry]:
        """All snapshots, oldest first; those written elsewhere as long as their file is there."""
        reading = _Reading(self._describe)
        with store_errors():
            found = native.core.store_list(self.root, reading.said_name)
        entries = [reading.entry(*each) for each in found]
        return sorted(entries, key=lambda entry: (entry.created, entry.name))

    def names(self) -> List[str]:
        """The names of all snapshots, without reading those in the store's own directory
        (completion is cheap).
        """
        reading = _Reading(self._describe)
        with store_errors():
            found = native.core.store_list(self.root, reading.said_name)
        return sorted(name for name, _, _ in found)

    def find(self, name: str) -> Optional[Entry]:
        """The snapshot called `name`, or None."""
        reading = _Reading(self._describe)
        with store_errors():
            found = native.core.store_find(self.root, name, reading.said_name)
        return reading.entry(*found) if found is not None else None

    def path_of(self, name: str) -> Path:
        """Where a snapshot called `name` lies in the store."""
        return Path(native.core.store_snapshot(self.root, name))

    def newest(self) -> Entry:
        """The snapshot saved last. Raises StoreError when there is none that can be read."""
        readable = [entry for entry in self.entries() if entry.record is not None]
        if not readable:
            raise StoreError(f"there are no snapshots in {self.root}")
        return readable[-1]

    def resolve(self, text: Optional[str]) -> Tuple[str, Path]:
        """The name and the file that NAME or FILE means; nothing means the newest. Raises
        StoreError.

        A name comes before a file of the same name, as long as there is no "/" in it.
        """
        if text is None:
            entry = self.newest()
            return entry.name, entry.path
        entry_or_none = self.find(text) if "/" not in text else None
        if entry_or_none is not None:
            return entry_or_none.name, entry_or_none.path
        path = Path(text).expanduser()
        if text and path.exists():
            if path.is_dir():
                raise StoreError(f"{text} is a directory, not a snapshot")
            return path.stem, path.absolute()
        if "/" in text or text.endswith(native.core.STORE_SUFFIX):
            raise StoreError(f'there is no file "{text}"')
        raise StoreError(f'there is no snapshot or file "{text}"; "ckpt list" shows what there is')

    def select(self, words: Sequence[str]) -> List[Entry]:
        """The snapshots whose name is one of `words` or fits one, each once, in the order of the
        words. Raises StoreError for a word that nothing fits.
        """
        found: Dict[str, Entry] = {}
        every: Optional[List[Entry]] = None
        for word in words:
            exact = self.find(word)
            if exact is not None:
                fitting = [exact]
            elif is_pattern(word):
                every = self.entries() if every is None else every
                fitting = [entry for entry in every if matches(entry.name, word)]
            else:
                fitting = []
            if not fitting:
                raise StoreError(f'there is no snapshot "{word}"; "ckpt list" shows what there is')
            for entry in fitting:
                found.setdefault(entry.name, entry)
        return list(found.values())

    def targets(self, words: Sequence[str]) -> List[str]:
        """What `resolve` takes for the snapshots and files that `words` name, patterns among them.
        Raises StoreError.
        """
        found: List[str] = []
        for word in words:
            if is_pattern(word) and self.find(word) is None and not os.path.exists(word):
                found += [entry.target for entry in self.select((word,))]
            else:
                self.resolve(word)
                found.append(word)
        return list(dict.fromkeys(found))

    def is_own_session(self, path: Path, record: Record, fd: Optional[int] = None) -> bool:
        """Whether this user's GDB has saved the session in the image at `path`, with this store.
        One without a session says nothing that could be another's. `fd`: the image, if it is open.
        """
        if not record.session:
            return True
        try:
            owner = os.stat(path if fd is None else fd).st_uid
        except OSError:
            return False
        imported = self._holds(path) and self.marks.is_imported(path.stem)
        return owner == os.geteuid() and not imported and self.marks.knows_session(record.session)

    # -- naming ------------------------------------------------------------------------------------

    def default_name(self, program: str, kind: str = "") -> str:
        """PROGRAM-N for the program at path `program`, with N one more than the largest in use;
        PROGRAM-KIND-N with a kind.
        """
        reading = _Reading(self._describe)
        with store_errors():
            return str(
                native.core.store_default_name(self.root, program, kind, reading.said_name)
            )

    def check_free(self, name: str, force: bool) -> None:
        """Raise StoreError when `name` is no name, or is taken and `force` is not given."""
        check_name(name)
        if not force and self.find(name) is not None:
            raise StoreError(f'there is already a snapshot "{name}"; -force replaces it')

    # -- changing ----------------------------------------------------------------------------------

    def register(self, name: str, path: Path, own: bool = True) -> None:
        """Note a new snapshot: of one that lies outside `snapshots/` that it needs what is kept
        here. `own`: this user has saved it. Raises StoreError.
        """
        if self._holds(path):
            if own:
                self.marks.forget_imported(name)
            return
        with store_errors():
            native.core.store_add_link(self.root, path.absolute())

    def make_place(self, digest: str, name: str) -> Path:
        """Where an object with that hash and name is to be written. Raises StoreError."""
        with store_errors():
            return Path(native.core.store_make_place(self.root, digest, name))

    def claim(self, path: Path, record: Record) -> None:
        """Note that an image outside `snapshots/` is used, so that one that was moved there keeps
        its claim on the objects of this store. It is not listed: its name was not given here
        and its date. Nothing happens when the store is another one or cannot be written to.
        """
        native.core.store_claim(self.root, path.absolute(), record.store)

    def forget(self, path: Path) -> None:
        """Drop our links to an image elsewhere, which is the user's and stays if it is there."""
        native.core.store_remove_links(self.root, path)

    def move(self, entry: Entry, name: str) -> Path:
        """Give the file of a snapshot in `snapshots/`, and the debug information that came with it,
        another name; the new path. Raises StoreError when there is such a snapshot.
        """
        path = self.path_of(name)
        try:
            # Not rename(2), which would replace what is there.
            os.link(entry.path, path)
        except FileExistsError:
            raise StoreError(f'there is already a snapshot "{name}"') from None
        except OSError as error:
            raise StoreError(f'"{entry.name}" cannot be renamed: {error.strerror}') from None
        self.marks.rename(entry.name, name)
        entry.path.unlink()
        debug = self.debug_directory_of(entry.name)
        if debug.is_dir():
            debug.rename(self.debug_directory_of(name))
        return path

    def delete(self, names: Sequence[str]) -> Deleted:
        """Delete snapshots (see `select`) and collect the objects that are no longer needed. Raises
        StoreError before deleting anything.
        """
        found = self.select(names)
        freed = 0
        for entry in found:
            try:
                # Blocks, not length: an image is full of holes.
                size = entry.path.lstat().st_blocks * 512
                entry.path.unlink()
            except OSError as error:
                raise StoreError(f'"{entry.name}" cannot be deleted: {error.strerror}') from None
            freed += size + self._forget_debug(entry)
        collected = self.collect()
        names = tuple(entry.name for entry in found)
        return Deleted(names, freed + collected.freed_bytes, collected.kept_because)

    def _forget_debug(self, entry: Entry) -> int:
        """Remove the debug information that came with a snapshot; the bytes freed."""
        if entry.external:
            return 0
        directory = self.debug_directory_of(entry.name)
        freed = sum(path.lstat().st_blocks * 512 for path in directory.rglob("*.debug"))
        if directory.is_dir():
            import shutil

            shutil.rmtree(directory, ignore_errors=True)
        return freed

    def collect(self) -> Collected:
        """Remove every object no snapshot needs, and what restores that are over have left behind.
        """
        with self._alone() as alone:
            if not alone:
                return Collected(
                    0, 0, "kept files stay: the store is in use by another save or restore"
                )
            with store_errors():
                native.core.store_remove_dead_links(self.root)
                claimed = native.core.store_claims(self.root)
            entries = self.entries()
            reading = _Reading(self._describe)
            claims = [reading.entry(Path(path).stem, path, None) for path in claimed]
            needed: Dict[str, Set[str]] = {}
            sessions: Set[str] = set()
            for entry in entries + claims:
                if entry.record is None:
                    # What an unreadable image needs is not known; a newer version may know how to
                    # read it.
                    return Collected(0, 0, f'kept files stay: "{entry.name}" cannot be read')
                for stored in entry.record.objects:
                    needed.setdefault(stored.hash, set()).add(stored.name)
                sessions.add(marks.digest(entry.record.session))
            self.marks.keep_only(sessions, {each.name for each in entries if not each.external})
            sweeping.scratch(self.scratch_directory)
            objects, freed = sweeping.objects(self._part("objects"), needed)
            freed += sweeping.index(self._part("index"), needed.keys())
            return Collected(objects, freed, "")
