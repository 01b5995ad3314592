"""A snapshot as data: opened by plain Python, with no GDB and no process.

    from gdbext import Snapshot

    with Snapshot.open("before-crash") as snapshot:
        queue = snapshot.symbol("queue")
        print(snapshot.read(queue.address, queue.size))
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Iterator,
    Mapping,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
)

from .. import native
from ..errors import (
    ClosedError,
    DamagedError,
    MissingContentError,
    RecordError,
    SnapshotError,
    one_line,
)
from ..records import Fidelity, Record, StoredObject, table_or_none
from ..store.store import Entry, Store, default_directory
from ..text.report import Verified
from . import opening
from .buildids import DEBUG_DIRECTORIES
from .memory import Contents, Memory, is_unchanged, translated
from .saved import (
    PAGE_BYTES,
    KeptFile,
    SavedDescriptor,
    SavedMapping,
    SavedThread,
    SignalState,
    TimerState,
    descriptors_of,
)
from .symbols import Symbol, Symbols

if TYPE_CHECKING:
    from .stacks import Frame

T = TypeVar("T")

# Called with (done, total) bytes now and then; False cancels.
Progress = Callable[[int, int], bool]


def foreign_vdso(path: Path) -> str:
    """What a restore on this machine does about the vdso of the image at `path`, if that is another
    kernel's; else an empty text.
    """
    try:
        kernel = native.core.proxied_vdso_kernel(str(path))
    except native.core.NativeError as error:
        return str(error)
    return f"of Linux {kernel}: after a restore here it calls this kernel's" if kernel else ""


def describe(path: Path) -> Record:
    """The record of the image at `path`. Raises SnapshotError for one that cannot be read."""
    try:
        return Record.of(native.core.describe(str(path)))
    except native.core.NativeError as error:
        raise translated(error) from None


def open_store(directory: Optional[Path] = None) -> Store:
    """The store in `directory`, else the default one."""
    return Store(directory or default_directory(), describe)


def verify(name: str, *, store: Path, progress: Optional[Progress] = None) -> Verified:
    """Compare the snapshot `name` (or a file), and what it needs, with their digests.

    Raises SnapshotError and StoreError for what cannot be compared at all.
    """
    try:
        with Snapshot.open(name, store=store) as snapshot:
            snapshot.verify(progress)
    except (DamagedError, MissingContentError) as error:
        return Verified(name, False, one_line(str(error)))
    return Verified(name, True, "")


def snapshots(store: Union[str, "os.PathLike[str]", None] = None) -> Tuple[Entry, ...]:
    """All snapshots of a store, oldest first, each with name, path, created (Unix seconds), record
    (None when it cannot be read) and problem (why not). `store` as in `Snapshot.open`. Raises
    StoreError.
    """
    directory = Path(store).expanduser().absolute() if store is not None else None
    return tuple(open_store(directory).entries())


def _length(format: str) -> int:
    try:
        return struct.calcsize(format)
    except struct.error as error:
        raise ValueError(f"the format {format!r}: {error}") from None


class Snapshot:
    """A snapshot, open for reading. Make one with `Snapshot.open()`.

    Nothing of it can be changed. Memory is read when it is asked for; the file is mapped, and each
    piece is compared with its digest when it is first looked at. After `close()`, or at the end of
    a `with` block, memory and symbols raise ClosedError; the rest stays.
    """

    __slots__ = (
        "_name",
        "_path",
        "_record",
        "_process",
        "_store",
        "_fd",
        "_memory",
        "_symbols",
        "_contents",
        "_disk_bytes",
        "_cache",
    )

    def __init__(self, fd: int, path: Path, name: str, store: Path) -> None:
        """Takes over `fd`, the open file at `path`. Raises SnapshotError."""
        self._fd = fd
        self._path = path
        self._name = name
        self._store = store
        self._cache: "dict[str, Any]" = {}
        try:
            try:
                record, extents, file_bytes, disk_bytes = native.core.read_record(fd, str(path))
            except native.core.NativeError as error:
                raise translated(error) from None
            self._record = record
            self._disk_bytes = disk_bytes
            (self._process,) = record["processes"]  # the reader refuses others
            mappings = tuple(map(SavedMapping.of, self._process["memory"]["mappings"]))
            stores = [store]
            if os.path.isabs(record["store"]) and Path(record["store"]) != store:
                stores.append(Path(record["store"]))
            program = self._process["program"]["path"]
            self._contents = Contents(stores)
            self._memory: Optional[Memory] = Memory(
                fd, str(path), file_bytes, extents, mappings, self._contents
            )
            # What came with an imported snapshot, then what this machine has.
            debug = (open_store(store).debug_directory_of(name), *DEBUG_DIRECTORIES)
            self._symbols = Symbols(mappings, program, self._contents, debug)
        except BaseException:
            os.close(fd)
            self._fd = -1
            raise

    @classmethod
    def open(
        cls,
        path_or_name: Union[str, "os.PathLike[str]"],
        *,
        store: Union[str, "os.PathLike[str]", None] = None,
    ) -> "Snapshot":
        """Open a snapshot.

        `path_or_name`: the name of a snapshot in the store, or a file; a name comes before a file
        of the same name, as long as there is no "/" in it. `store`: the directory of the store to
        look in first, for the name and for contents of files; None for the default one ($CKPT_DIR,
        $XDG_DATA_HOME/ckpt or ~/.local/share/ckpt).

        Reads the record only. Raises SnapshotError (DamagedError, VersionError) for a file that is
        no good, StoreError when there is no such snapshot.
        """
        opened = open_store(Path(store).expanduser().absolute() if store is not None else None)
        if isinstance(path_or_name, str):
            name, path = opened.resolve(path_or_name)
        else:
            path = Path(path_or_name).absolute()
            name = path.stem
        try:
            # Not to wait for the writer of a FIFO: the reader says that it is no regular file.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise SnapshotError(f"{path}: {error.strerror}") from None
        return cls(fd, path, name, opened.root)

    @classmethod
    def of(cls, fd: int, path: Path, store: Path) -> "Snapshot":
        """The snapshot in a file that is open, which has been found under
        `path`. Raises as `open`.
        """
        return cls(os.dup(fd), path, path.stem, store)

    def close(self) -> None:
        """Let go of the file. Views of memory that were handed out stay good."""
        if self._fd < 0:
            return
        if self._memory is not None:
            self._memory.close()
        self._memory = None
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        value: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<Snapshot {self._name!r} of {self.program} in {self._path}>"

    def _once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns, which is called when it is first asked for."""
        if key not in self._cache:
            self._cache[key] = make()
        found: T = self._cache[key]
        return found

    # -- what it says of itself --------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name in the store; of a file elsewhere its name without the suffix."""
        return self._name

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def disk_bytes(self) -> int:
        """What the file takes on disk, in bytes."""
        return self._disk_bytes

    @property
    def created(self) -> float:
        """When it was written, in seconds since 1970."""
        return self._record["created"]

    @property
    def program(self) -> str:
        """The path of the executable at the save."""
        return self._process["program"]["path"]

    @property
    def argv(self) -> Tuple[str, ...]:
        """The program's arguments, its own name first."""
        return tuple(self._process["program"]["argv"])

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment that the program was started with (not what it has made of it since)."""

        def parse() -> Mapping[str, str]:
            found: "dict[str, str]" = {}
            for each in self._process["program"]["environ"]:
                variable, equals, value = each.partition("=")
                if equals:
                    found.setdefault(variable, value)  # as getenv(3) finds them
            return MappingProxyType(found)

        return self._once("environ", parse)

    @property
    def auxv(self) -> Mapping[int, int]:
        """The auxiliary vector that the kernel gave to the program: values by AT_* keys."""

        def parse() -> Mapping[int, int]:
            source = self._process["memory"]["auxv"]
            words = struct.unpack(f"<{len(source) // 8}Q", source[: len(source) // 8 * 8])
            return MappingProxyType(dict(zip(words[0::2], words[1::2])))

        return self._once("auxv", parse)

    @property
    def cwd(self) -> str:
        """The working directory."""
        return self._process["process"]["cwd"]

    @property
    def pid(self) -> int:
        """The process id at the save."""
        return self._process["process"]["pid"]

    @property
    def message(self) -> str:
        """The remark that was given to the save."""
        return self._record["message"]

    @property
    def stop(self) -> str:
        """Where the selected thread stopped, in words; "" without GDB."""
        return self._record["stop"]

    @property
    def parent(self) -> Optional[str]:
        """The name of the snapshot from which the saved program had been restored; None when it had
        not been, or when that is not known.
        """
        parent = self._record["parent"]
        return None if parent is None else parent["name"]

    @property
    def place(self) -> str:
        """Where the selected thread stopped in the program's own code, in a few words, with the
        signal if there was one; "" without GDB.
        """
        return self._record["place"]

    @property
    def fidelity(self) -> Tuple[Fidelity, ...]:
        """What will not come back as it was, worst first."""
        return self._once("fidelity", lambda: tuple(map(Fidelity.of, self._record["fidelity"])))

    @property
    def threads(self) -> Tuple[SavedThread, ...]:
        """The threads, the main thread first."""
        return self._once("threads", lambda: tuple(map(SavedThread.of, self._process["threads"])))

    @property
    def selected(self) -> Optional[SavedThread]:
        """The thread that was selected at the save."""
        tid = self._record["selected"]["tid"]
        return next((thread for thread in self.threads if thread.tid == tid), None)

    @property
    def files(self) -> Tuple[SavedDescriptor, ...]:
        """The file descriptors, in ascending order."""
        return self._once("files", lambda: descriptors_of(self._process, self._record["shared"]))

    @property
    def signals(self) -> SignalState:
        """What the program does with signals, and those queued for it."""
        return self._once("signals", lambda: SignalState.of(self._process["signals"]))

    @property
    def timers(self) -> TimerState:
        """The timers of setitimer(2) and timer_create(2)."""
        return self._once("timers", lambda: TimerState.of(self._process["timers"]))

    @property
    def session(self) -> Mapping[str, Any]:
        """The state of the debugger that saved it (format.md); empty without GDB."""

        def parse() -> Mapping[str, Any]:
            try:
                found = table_or_none(self._record["session"], "session")
            except RecordError as error:
                raise SnapshotError(f"{self._path}: {error}") from None
            return MappingProxyType(found or {})

        return self._once("session", parse)

    @property
    def objects(self) -> Tuple[StoredObject, ...]:
        """The contents in the store that it needs."""
        return self._once("objects", lambda: tuple(map(StoredObject.of, self._record["objects"])))

    # -- memory ------------------------------------------------------------------------------------

    @property
    def memory(self) -> Memory:
        """Memory by pieces; what `read` and the others are made of. Raises ClosedError."""
        if self._memory is None:
            raise ClosedError(f"{self._path}: the snapshot is closed")
        return self._memory

    @property
    def maps(self) -> Tuple[SavedMapping, ...]:
        """The mappings, in ascending order of addresses."""
        return self.memory.mappings

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes of memory from `address` on.

        Raises UnmappedError when not all of it was there, MissingContentError when it was in a file
        whose content is nowhere to be had, DamagedError, ClosedError, and ValueError for a negative
        length.
        """
        if length < 0:
            raise ValueError(f"a length of {length}")
        return self.memory.read(address, length)

    def unpack(self, format: str, place: "Union[int, str, Symbol]") -> Tuple[Any, ...]:
        """The values in memory from `place` on, as `format` says in the language of the module
        struct: `unpack("qd", "total")`. `place` is an address, a symbol, or the name of one.

        Raises ValueError for a format that is none, and what `read` and `symbol` raise.
        """
        length = _length(format)
        return struct.unpack(format, self.read(self._address(place), length))

    def iter_unpack(
        self, format: str, place: "Union[int, str, Symbol]", count: int
    ) -> Iterator[Tuple[Any, ...]]:
        """The same for `count` records that follow each other: an array."""
        length = _length(format)
        return struct.iter_unpack(format, self.read(self._address(place), length * count))

    def _address(self, place: "Union[int, str, Symbol]") -> int:
        if isinstance(place, int):
            return place
        return place.address if isinstance(place, Symbol) else self.symbol(place).address

    def view(self, address: int, length: int) -> memoryview:
        """The same as a read-only memoryview. Nothing is copied when the bytes lie in one place of
        the file, as those of up to 1 MiB mostly do.
        """
        if length < 0:
            raise ValueError(f"a length of {length}")
        return self.memory.look(address, length)

    def read_cstring(self, address: int, limit: int = 1 << 20) -> bytes:
        """The bytes from `address` up to the first zero byte, without it.

        Raises UnmappedError when memory ends before, SnapshotError when there is none within
        `limit` bytes, and what `read` raises.
        """
        found = bytearray()
        while len(found) < limit:
            # Up to the end of the page, so that a string at the end of a mapping can be read.
            step = min(PAGE_BYTES - address % PAGE_BYTES, limit - len(found))
            part = self.read(address, step)
            end = part.find(0)
            if end >= 0:
                return bytes(found + part[:end])
            found += part
            address += step
        raise SnapshotError(f"{self._path}: no zero byte within {limit} bytes")

    def search(self, wanted: bytes, start: int = 0, end: int = 1 << 64) -> Iterator[int]:
        """The addresses from `start` to `end` at which `wanted` stands, in ascending order; matches
        may overlap. Memory whose bytes are not to be had is skipped.

        Raises ValueError for nothing to look for, DamagedError, ClosedError.
        """
        if not wanted:
            raise ValueError("nothing to search for")
        return self.memory.search(bytes(wanted), start, end)

    def pages(self) -> Iterator[Tuple[int, memoryview]]:
        """The pages of 4096 bytes that stand in the file, each as its address and its bytes: what
        the program had written. All other memory is zero, or what the mapped file holds.
        """
        memory = self.memory
        for piece in memory.all_pieces():
            if piece.kind != "stored":
                continue
            view = memory.view(piece)
            for at in range(0, piece.size, PAGE_BYTES):
                yield piece.address + at, view[at : at + PAGE_BYTES]

    # -- symbols -----------------------------------------------------------------------------------

    def symbol(self, name: str, file: Optional[str] = None) -> Symbol:
        """The function or object `name`, from the ELF symbols of the snapshot's own copies.

        `file`: the path, or the last component of it, of the executable or library; None for the
        first that has it, the executable before the libraries. Raises SymbolError when there is
        none, or when it is thread-local.
        """
        self.memory  # closed is closed
        return self._symbols.find(name, file)

    def symbols(self, *, apart: bool = True) -> Iterator[Symbol]:
        """All functions and objects, file by file, the executable first; `apart`: with those that
        stand only in separate debug information, as most of the C library's do.
        """
        self.memory
        return self._symbols.all(apart)

    def symbol_at(self, address: int) -> Optional[Symbol]:
        """The function or object that `address` lies in, or None."""
        self.memory
        return self._symbols.at(address)

    # -- stacks ------------------------------------------------------------------------------------

    def backtraces(self, *, gdb: Optional[str] = None) -> "Mapping[int, Tuple[Frame, ...]]":
        """The frames of each thread, the innermost first, by the thread's `tid`. For this a GDB is
        run: `gdb`, else $CKPT_GDB, else the one on PATH; once, whatever is asked afterwards.

        Raises SnapshotError when it cannot be run or opened by it.
        """
        self.memory
        if "backtraces" not in self._cache:
            from .stacks import backtraces

            self._cache["backtraces"] = MappingProxyType(
                backtraces(self._path, self._store, gdb)
            )
        found: "Mapping[int, Tuple[Frame, ...]]" = self._cache["backtraces"]
        return found

    def backtrace(self, thread: Optional[SavedThread] = None) -> "Tuple[Frame, ...]":
        """The frames of one thread, the one that was selected at the save if none is given."""
        asked = thread if thread is not None else self.selected
        return self.backtraces().get(asked.tid, ()) if asked is not None else ()

    # -- checking ----------------------------------------------------------------------------------

    def verify(self, progress: Optional[Progress] = None) -> None:
        """Compare all memory, and every content in the store that it needs, with their digests.

        `progress`: called with bytes done and in all now and then; returning False ends it with
        SnapshotError. Raises DamagedError, MissingContentError.
        """
        self.verify_memory(progress)
        try:
            for each in self.objects:
                path = self.content(each)
                with opening.regular(path) as stream:
                    intact = native.core.has_digest(stream.fileno(), str(path), each.hash)
                if not intact:
                    raise DamagedError(f"{each.path}: the store's copy {path} is damaged")
        except native.core.NativeError as error:
            raise translated(error) from None
        except OSError as error:
            raise SnapshotError(f"{error.filename}: {error.strerror}") from None

    def verify_memory(self, progress: Optional[Progress] = None) -> None:
        """The same for what stands in the snapshot's own file."""
        self.memory
        try:
            native.core.verify_memory(self._fd, str(self._path), progress)
        except native.core.NativeError as error:
            raise translated(error) from None

    def file(self, kept: KeptFile) -> Path:
        """A file with the content that the mapped file `kept` had, the file itself if it is as it
        was. Its digest is compared. Raises MissingContentError, DamagedError.
        """
        self.memory
        if is_unchanged(kept):
            return Path(kept.path)
        self._contents.view(kept)
        return self._contents.path(kept)

    def content(self, stored: StoredObject) -> Path:
        """Where the content of one of `objects` is. Raises MissingContentError."""
        return self._contents.object(stored)

    def content_of(self, file: KeptFile) -> Path:
        """Where the content of a file that the program had mapped or open is: a copy in a store,
        else the file itself when it is as it was. Raises MissingContentError.
        """
        return self._contents.path(file)
