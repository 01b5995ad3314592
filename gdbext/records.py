"""The record of a snapshot as typed, frozen values.

The native module has checked every field of a record by the time it hands it over. What other
processes and files say is checked as it is read, with `read` and its like, which raise RecordError.
Fields the GDB side does not need stay in `Record.raw` (for `ckpt info -json`).

These and other values are named tuples: a frozen dataclass compiles its methods when it is defined
and takes four times as long, which the first command of a session would have to wait for.
"""

from __future__ import annotations

from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Type,
    TypeVar,
)

from .errors import RecordError

if TYPE_CHECKING:
    from . import _native, record_types

T = TypeVar("T")

_NOTHING: Any = object()


def read(source: Mapping[str, Any], key: str, kind: Type[T], default: Any = _NOTHING) -> T:
    """`source[key]`, which must be of type `kind`; `default` when it is missing. Raises
    RecordError.
    """
    found = source.get(key, default)
    if found is _NOTHING:
        raise RecordError(f'damaged record: "{key}" is missing')
    # bool is an int to isinstance, and never what a record means by a number.
    if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
        raise RecordError(f'damaged record: "{key}" is of type {type(found).__name__}')
    return found


def read_list(source: Mapping[str, Any], key: str, kind: Type[T]) -> Tuple[T, ...]:
    """`source[key]` as a tuple; every element must be of type `kind`; empty when missing. Raises
    RecordError.
    """
    checked: List[T] = []
    for element in read(source, key, list, []):
        if not isinstance(element, kind) or (isinstance(element, bool) and kind is not bool):
            raise RecordError(
                f'damaged record: an element of "{key}" is of type {type(element).__name__}'
            )
        checked.append(element)
    return tuple(checked)


def read_dict(source: Mapping[str, Any], key: str) -> Dict[str, Any]:
    """`source[key]` as a dictionary; empty when missing. Raises RecordError."""
    found: Dict[str, Any] = read(source, key, dict, {})
    return found


_SEVERITIES = ("lost", "changed", "note")


class Fidelity(NamedTuple):
    """One thing that will not come back as it was. `severity` is "lost", "changed" or "note", worst
    first.
    """

    severity: str
    object: str
    kind: str
    text: str

    @classmethod
    def of(cls, source: record_types.Finding) -> "Fidelity":
        """From a record."""
        return cls(source["severity"], source["object"], source["kind"], source["text"])

    @property
    def rank(self) -> int:
        """0 for the worst."""
        known = self.severity in _SEVERITIES
        return _SEVERITIES.index(self.severity) if known else len(_SEVERITIES)


class Thread(NamedTuple):
    """A thread of the saved program: its id in the kernel, GDB's global number, its pthread_t (0:
    none), the address it goes on at (0: unknown). `ended`: a main thread that is gone while others
    go on. `remembered`: the id that the program is shown, another one than `tid` in a program that
    had itself been restored with new ids.
    """

    tid: int
    number: int
    name: str
    pthread: int
    held_signal: int
    pc: int = 0
    ended: bool = False
    remembered: int = 0

    @classmethod
    def of(cls, source: record_types.Thread) -> "Thread":
        """From a record."""
        return cls(
            source["tid"],
            source["number"],
            source["name"],
            source["pthread"],
            source["held_signal"],
            source["registers"]["rip"],
            source["ended"],
            source["remembered"],
        )


class StoredObject(NamedTuple):
    """A file in the store that the snapshot needs; `path` is where its content came from, `name`
    what the store calls it.
    """

    hash: str
    size: int
    path: str
    name: str = ""

    @classmethod
    def of(cls, source: record_types.StoredObject) -> "StoredObject":
        """From a record."""
        return cls(source["hash"], source["size"], source["path"], source["name"])


class OpenFile(NamedTuple):
    """A file descriptor of the saved program."""

    fd: int
    kind: str
    path: str


class Origin(NamedTuple):
    """The snapshot that a program was restored from: its name then, and when it was made, which
    tells it from all others.
    """

    name: str
    created: float

    @classmethod
    def of(cls, source: Optional[record_types.Parent]) -> Optional["Origin"]:
        """From a record's `parent`; None when there is none."""
        return None if source is None else cls(source["name"], source["created"])

    def table(self) -> record_types.Parent:
        """As the record has it."""
        return {"name": self.name, "created": self.created}


def run_id(boot_id: str, pid: int, start_ticks: int) -> str:
    """What names a process for good; "" when it is not known."""
    return f"{boot_id}:{pid}:{start_ticks}" if boot_id and start_ticks else ""


def table_or_none(found: Any, key: str) -> Optional[Dict[str, Any]]:
    """What the debugger has put into a record, and the native module has not looked at. Raises
    RecordError.
    """
    if found is not None and not isinstance(found, dict):
        raise RecordError(f'damaged record: "{key}" is not a table')
    return found


class Record(NamedTuple):
    """What a snapshot says of itself. `created` is in Unix seconds; `file_bytes` is the size of the
    image. `run` is the same for all snapshots of one process, "" when it is not known.
    """

    name: str
    message: str
    stop: str
    created: float
    creator: str
    store: str
    file_bytes: int
    program: str
    argv: Tuple[str, ...]
    pid: int
    cwd: str
    hostname: str
    kernel: str
    threads: Tuple[Thread, ...]
    selected_tid: int
    selected_frame: int
    files: Tuple[OpenFile, ...]
    objects: Tuple[StoredObject, ...]
    fidelity: Tuple[Fidelity, ...]
    terminal: Optional[Dict[str, Any]]
    terminal_input: bytes
    session: Dict[str, Any]
    raw: Mapping[str, Any]
    place: str
    parent: Optional[Origin]
    run: str

    @classmethod
    def of(cls, source: _native.Described) -> "Record":
        """From `native.core.describe()`. Raises RecordError for a session that is no table."""
        process = source["process"]
        host = source["host"]
        threads = source["threads"]
        return cls(
            name=source["name"],
            message=source["message"],
            stop=source["stop"],
            created=source["created"],
            creator=source["creator"],
            store=source["store"],
            file_bytes=source["file_bytes"],
            program=source["program"]["path"],
            argv=tuple(source["program"]["argv"]),
            pid=process["pid"],
            cwd=process["cwd"],
            hostname=host["hostname"],
            kernel=host["kernel"],
            threads=tuple(map(Thread.of, threads)),
            selected_tid=source["selected"]["tid"],
            selected_frame=source["selected"]["frame"],
            files=tuple(
                OpenFile(each["fd"], each["kind"], each["path"]) for each in source["files"]
            ),
            objects=tuple(map(StoredObject.of, source["objects"])),
            fidelity=tuple(map(Fidelity.of, source["fidelity"])),
            terminal=table_or_none(source["terminal"], "terminal"),
            terminal_input=bytes(source["terminal_input"]),
            # `ckpt-save` has no session to keep, and says null.
            session=table_or_none(source["session"], "session") or {},
            raw=source,
            # Older snapshots say where they stopped at length only.
            place=source["place"] or source["stop"],
            parent=Origin.of(source["parent"]),
            run=run_id(host["boot_id"], threads[0]["lwp"], process["start_ticks"]),
        )

    @property
    def has_remembered_ids(self) -> bool:
        """Whether the program remembers other ids than it had:
        it had been restored with new ones.
        """
        return any(thread.remembered != thread.tid for thread in self.threads)

    @property
    def program_name(self) -> str:
        """The program's file name without its directories."""
        return Path(self.program).name


class Library(NamedTuple):
    """A library whose file changed or vanished since the save: its old path and the snapshot's
    copy.
    """

    path: str
    copy: str


class Checked(NamedTuple):
    """What `_native.validate()` found: what GDB should load, and what the user should be told.
    `hidden`: the program will see files that GDB cannot look at as it does.
    """

    executable: str
    executable_replaced: bool
    libraries: Tuple[Library, ...]
    hidden: bool
    notes: Tuple[str, ...]

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "Checked":
        """From `_native.validate()`. Raises RecordError."""
        return cls(
            read(source, "executable", str),
            read(source, "executable_replaced", bool, False),
            tuple(
                Library(read(each, "path", str), read(each, "copy", str))
                for each in read_list(source, "libraries", dict)
            ),
            read(source, "hidden", bool, False),
            read_list(source, "notes", str),
        )


class MovedLock(NamedTuple):
    """Memory that was taken for a held lock by its structure: its address, and the words that were
    changed, as pairs of offset and old value.
    """

    address: int
    words: Tuple[Tuple[int, int], ...]

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "MovedLock":
        """From the helper's report. Raises RecordError."""
        words = tuple(
            (read(each, "offset", int), read(each, "old", int))
            for each in read_list(source, "words", dict)
        )
        if not words or any(not 0 <= old < 1 << 32 for _, old in words):
            raise RecordError("a lock without owner words was reported")
        return cls(read(source, "address", int), words)


class FinishedThread(NamedTuple):
    """A thread after the restore: the id it was saved with, the one it has, GDB's number at the
    save.
    """

    saved_tid: int
    tid: int
    number: int


class Finished(NamedTuple):
    """What `_native.finish()` did. `held` pairs thread ids with signals GDB must queue; `ids` is
    "saved" or "virtual".
    """

    threads: Tuple[FinishedThread, ...]
    held: Tuple[Tuple[int, int], ...]
    ids: str

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "Finished":
        """From `_native.finish()`. Raises RecordError."""
        return cls(
            tuple(
                FinishedThread(
                    read(each, "saved_tid", int), read(each, "tid", int), read(each, "number", int)
                )
                for each in read_list(source, "threads", dict)
            ),
            tuple(
                (read(each, "tid", int), read(each, "signal", int))
                for each in read_list(source, "held", dict)
            ),
            read(source, "ids", str, "saved"),
        )
