"""The store: where snapshots lie, what they are called, and which kept files are still needed.

    snapshots/NAME.ckpt    the images
    external/              symbolic links to images written elsewhere (`ckpt save -o FILE`)
    objects/<hh>/<hash>/   executables, libraries and data files, kept once per content
    index/                 the native module's cache; whose words the sessions of snapshots are (`marks`)
    debug/NAME/            separate debug information that came with the imported snapshot NAME
    scratch/               what a running restore needs for a while

Everything in it is the user's own: directories 0700, files 0600. Snapshots hold a program's memory,
with its secrets, and the objects are executed; so a store that somebody else could write to is
refused, not repaired.

Locking. Saving and restoring hold a shared lock on the store's directory, collecting garbage an
exclusive one: an object may be in use by an image that is not yet in place. A flock lives as long
as its descriptor, so a killed GDB leaves none behind.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import CkptError, StoreError
from ..records import Record
from . import marks, sweeping
from .naming import NAME_LIMIT, check_name, is_name, is_pattern, matches

SUFFIX = ".ckpt"
# How the names of links in external/ begin that keep objects, and list nothing.
_CLAIM = "claim-"
_PARTS = ("snapshots", "objects", "external", "debug", "scratch")

Describe = Callable[[Path], Record]


def default_directory(environment: Mapping[str, str]) -> Path:
    """Where the store is when nobody says: $CKPT_DIR, else $XDG_DATA_HOME/ckpt, else
    ~/.local/share/ckpt.

    The XDG specification wants relative paths in its variables ignored.
    """
    if environment.get("CKPT_DIR"):
        return Path(environment["CKPT_DIR"]).expanduser().absolute()
    data = environment.get("XDG_DATA_HOME", "")
    if os.path.isabs(data):
        return Path(data) / "ckpt"
    return Path(environment.get("HOME") or "~").expanduser() / ".local" / "share" / "ckpt"


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


class Store:
    """The store in one directory. `describe` reads an image's record; it raises CkptError for one
    it cannot read.
    """

    def __init__(self, root: Path, describe: Describe) -> None:
        self.root = root
        self.marks = marks.Marks(root)
        self._describe = describe

    @property
    def snapshots_directory(self) -> Path:
        """Where the images are."""
        return self.root / "snapshots"

    @property
    def scratch_directory(self) -> Path:
        """Where a running restore may put what it needs."""
        return self.root / "scratch"

    def debug_directory_of(self, name: str) -> Path:
        """Where separate debug information that was imported with the snapshot `name` is, laid out
        as GDB's `debug-file-directory`; it is not there for most snapshots.
        """
        return self.root / "debug" / name

    # -- the directory -----------------------------------------------------------------------------

    def check(self) -> bool:
        """Whether the store exists. Raises StoreError when it does but is not the user's own."""
        try:
            found = self.root.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StoreError(f"the store {self.root}: {error.strerror}") from None
        self._check_owned(self.root, found)
        for name in (*_PARTS, *marks.DIRECTORIES):
            try:
                self._check_owned(self.root / name, (self.root / name).stat())
            except FileNotFoundError:
                continue
        return True

    @staticmethod
    def _check_owned(path: Path, found: os.stat_result) -> None:
        if not stat.S_ISDIR(found.st_mode):
            raise StoreError(f"the store {path} is not a directory")
        if found.st_uid != os.geteuid():
            raise StoreError(
                f"the store {path} belongs to another user (uid {found.st_uid}): refused"
            )
        if found.st_mode & 0o022:
            raise StoreError(
                f'the store {path} can be written by others: refused (chmod go-w "{path}")'
            )

    def create(self) -> None:
        """Make the store if it is not there, and make sure it can be written to. Raises StoreError.
        """
        self.check()
        try:
            self.root.parent.mkdir(parents=True, exist_ok=True)
            for path in (
                self.root,
                *(self.root / name for name in _PARTS),
            ):
                # The mode is given at creation, so there is no moment in which others could look
                # in.
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the store {self.root} cannot be created: {error.strerror}") from None
        self.check()
        for path in (self.snapshots_directory, self.root / "objects"):
            # os.access asks for the effective rights too: a read-only file system says no to root
            # as well.
            if not os.access(
                path, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids
            ):
                raise StoreError(f"the store {self.root} cannot be written to")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Hold the shared lock: nothing that this save or restore counts on is collected meanwhile.
        """
        with self._locked(fcntl.LOCK_SH):
            yield

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, how)
            yield
        finally:
            os.close(fd)

    # -- looking -----------------------------------------------------------------------------------

    def entries(self) -> List[Entry]:
        """All snapshots, oldest first; those written elsewhere as long as their file is there."""
        if not self.check():
            return []
        found = [self._entry(path, path.stem) for path in self._images()]
        found += self._external_entries()
        return sorted(found, key=lambda entry: (entry.created, entry.name))

    def names(self) -> List[str]:
        """The names of all snapshots, without reading those in the store's own directory
        (completion is cheap).
        """
        if not self.check():
            return []
        names = [path.stem for path in self._images()]
        names += [entry.name for entry in self._external_entries()]
        return sorted(names)

    def _images(self) -> List[Path]:
        try:
            return sorted(
                path for path in self.snapshots_directory.iterdir() if path.suffix == SUFFIX
            )
        except FileNotFoundError:
            return []

    def _links(self) -> List[Tuple[Path, Path]]:
        """Each link in external/ with the path it leads to, in the order in which they were made."""
        try:
            links = [path for path in (self.root / "external").iterdir() if path.is_symlink()]
        except FileNotFoundError:
            return []
        links.sort(key=lambda link: (link.lstat().st_mtime_ns, link))
        return [(link, Path(os.path.join(link.parent, os.readlink(link)))) for link in links]

    def _external_entries(self) -> List[Entry]:
        return [
            self._external_entry(link, target)
            for link, target in self._links()
            if not link.name.startswith(_CLAIM) and target.exists()
        ]

    def _entry(self, path: Path, name: str) -> Entry:
        try:
            return Entry(name, path, False, self._describe(path), "")
        except CkptError as error:
            return Entry(name, path, False, None, str(error))

    def _external_entry(self, link: Path, target: Path) -> Entry:
        entry = self._entry(target, target.stem)
        # A file in the store is called what it is called; one elsewhere is known by the name it was
        # given, if that is one.
        names = (entry.record.name if entry.record is not None else "", target.stem)
        name = next(filter(is_name, names), link.stem)
        return entry._replace(name=name, external=True, noted=link.lstat().st_mtime)

    def find(self, name: str) -> Optional[Entry]:
        """The snapshot called `name`, or None."""
        if not self.check():
            return None
        path = self.path_of(name)
        if "/" not in name and name and os.path.lexists(path):
            return self._entry(path, name)
        return next((entry for entry in self._external_entries() if entry.name == name), None)

    def path_of(self, name: str) -> Path:
        """Where a snapshot called `name` lies in the store."""
        return self.snapshots_directory / (name + SUFFIX)

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
        if "/" in text or text.endswith(SUFFIX):
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
        """Whether this user's GDB has saved the session in the image at `path`, with this store. One
        without a session says nothing that could be another's. `fd`: the image, if it is open.
        """
        if not record.session:
            return True
        try:
            owner = os.stat(path if fd is None else fd).st_uid
        except OSError:
            return False
        imported = self.marks.is_imported(path.stem) and os.path.samefile(
            path.parent, self.snapshots_directory
        )
        return owner == os.geteuid() and not imported and self.marks.knows_session(record.session)

    # -- naming ------------------------------------------------------------------------------------

    def default_name(self, program: str, kind: str = "") -> str:
        """PROGRAM-N for the program at path `program`, with N one more than the largest in use;
        PROGRAM-KIND-N with a kind.
        """
        stem = (
            re.sub(r"[^A-Za-z0-9._+-]", "_", Path(program).name).lstrip("-.")[: NAME_LIMIT - 20]
            or "program"
        ) + (f"-{kind}" if kind else "")
        pattern = re.compile(re.escape(stem) + r"-([0-9]{1,9})")
        numbers = [int(match[1]) for match in map(pattern.fullmatch, self.names()) if match]
        return f"{stem}-{max(numbers, default=0) + 1}"

    def check_free(self, name: str, force: bool) -> None:
        """Raise StoreError when `name` is no name, or is taken and `force` is not given."""
        check_name(name)
        if not force and self.find(name) is not None:
            raise StoreError(f'there is already a snapshot "{name}"; -force replaces it')

    # -- changing ----------------------------------------------------------------------------------

    def register(self, name: str, path: Path, own: bool = True) -> None:
        """Note that the image `path` needs objects of the store, when it lies outside `snapshots/`.
        `own`: this user has saved it.
        """
        path = path.absolute()
        if path.parent == self.snapshots_directory.absolute():
            self._forget_elsewhere(name)
            if own:
                self.marks.forget_imported(name)
            return
        for link, target in self._links():
            same = target.exists() and path.exists() and os.path.samefile(target, path)
            if not link.name.startswith(_CLAIM) and (target == path or same):
                return
        self._link(path, "")

    def claim(self, path: Path, record: Record) -> None:
        """Note that an image outside `snapshots/` is used, so that one that was moved there keeps its
        claim on the objects of this store. It is not listed: nobody here has given it its name and its
        date. Nothing happens when the store is another one or cannot be written to.
        """
        path = path.absolute()
        try:
            if not os.path.samefile(record.store, self.root):
                return
            if os.path.samefile(path.parent, self.snapshots_directory):
                return
            if not any(target.exists() and target.samefile(path) for _, target in self._links()):
                self._link(path, _CLAIM)
        except OSError:
            pass  # using a snapshot must not fail for it

    def _link(self, path: Path, prefix: str) -> None:
        """Make a link in external/, with a name in which nothing is that a snapshot says."""
        import hashlib  # here, like shutil below: slow to import, and seldom needed

        link = self.root / "external" / (prefix + hashlib.sha256(os.fsencode(path)).hexdigest()[:32])
        link.parent.mkdir(mode=0o700, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(path)

    def _forget_elsewhere(self, name: str) -> None:
        """A name belongs to one snapshot: drop our link to an image elsewhere; the file is the
        user's and stays.
        """
        for link, target in self._links():
            if target.exists() and self._external_entry(link, target).name == name:
                link.unlink(missing_ok=True)

    def forget(self, path: Path) -> None:
        """Drop our link to an image elsewhere that is gone."""
        for link, target in self._links():
            if target == path:
                link.unlink(missing_ok=True)

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
        """Delete snapshots (see `select`) and collect the objects nobody needs any more. Raises
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
        try:
            with self._locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
                for link, target in self._links():
                    if not target.exists():
                        link.unlink(missing_ok=True)
                needed: Dict[str, Set[str]] = {}
                sessions: Set[str] = set()
                claims = [
                    self._external_entry(link, target)
                    for link, target in self._links()
                    if link.name.startswith(_CLAIM)
                ]
                entries = self.entries()
                for entry in entries + claims:
                    if entry.record is None:
                        # Nobody knows what an unreadable image needs; a newer version may know how
                        # to read it.
                        return Collected(0, 0, f'kept files stay: "{entry.name}" cannot be read')
                    for stored in entry.record.objects:
                        needed.setdefault(stored.hash, set()).add(stored.name)
                    sessions.add(marks.digest(entry.record.session))
                self.marks.keep_only(sessions, {each.name for each in entries if not each.external})
                sweeping.scratch(self.scratch_directory)
                objects, freed = sweeping.objects(self.root / "objects", needed)
                freed += sweeping.index(self.root / "index", needed.keys())
                return Collected(objects, freed, "")
        except BlockingIOError:
            return Collected(
                0, 0, "kept files stay: the store is in use by another save or restore"
            )
