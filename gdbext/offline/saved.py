"""What a snapshot holds besides memory, as typed, immutable values: threads, mappings, descriptors,
signals, timers.

`records.py` has what a restore under GDB needs; this is what a script asks that looks into a
snapshot without a process. Both trust nothing: every field is checked as it is read.
"""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple

from ..errors import RecordError
from ..records import read, read_dict, read_list

PAGE_BYTES = 4096
_SIGINFO_BYTES = 128


class Siginfo(NamedTuple):
    """A signal with its details (sigaction(2)): `code` is si_code; `pid` is who sent it, `address`
    where a fault happened, each None where this kind of signal has none; `raw` is the kernel's
    structure, 128 bytes.
    """

    signal: int
    code: int
    pid: Optional[int]
    address: Optional[int]
    raw: bytes

    @classmethod
    def of(cls, raw: Any) -> "Siginfo":
        """From the kernel's structure. Raises RecordError."""
        if not isinstance(raw, bytes) or len(raw) != _SIGINFO_BYTES:
            raise RecordError("damaged record: a siginfo is not 128 bytes")
        signal, _, code = struct.unpack_from("<iii", raw)
        # SIGILL, SIGBUS, SIGFPE, SIGSEGV and SIGTRAP of the kernel's have an address; what a
        # process sends (code <= 0) and SIGCHLD have a sender.
        fault = signal in (4, 5, 7, 8, 11) and code > 0
        sent = code in (0, -1, -6) or signal == 17
        return cls(
            signal,
            code,
            struct.unpack_from("<i", raw, 16)[0] if sent and not fault else None,
            struct.unpack_from("<Q", raw, 16)[0] if fault else None,
            raw,
        )


class SavedThread(NamedTuple):
    """A thread. `tid` is its id in the kernel, `remembered` the one that the program is shown (they
    differ in a program that had been restored with new ids); `number` is GDB's, 0 without GDB;
    `pthread` is 0 when unknown. `registers` has the general registers by name, as ptrace shows
    them, `xstate` the processor's XSAVE area. `stop` is the signal it was stopped with, and
    `held_signal` the one that the debugger was about to deliver, 0 for none. `ended`: a main thread
    that is gone while others go on.
    """

    tid: int
    remembered: int
    number: int
    pthread: int
    name: str
    registers: Mapping[str, int]
    xstate: bytes
    signal_mask: FrozenSet[int]
    stop: Optional[Siginfo]
    held_signal: int
    queued: Tuple[Siginfo, ...]
    ended: bool

    def __repr__(self) -> str:
        pc = self.registers.get("rip", 0)
        return f"<SavedThread {self.tid} {self.name!r} at {pc:#x}>"

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "SavedThread":
        """From a thread of the record. Raises RecordError."""
        tid = read(source, "tid", int)
        registers = read_dict(source, "registers")
        for name in registers:
            read(registers, name, int)
        stop = source.get("stop_info")
        return cls(
            tid=tid,
            remembered=read(source, "remembered", int, tid),
            number=read(source, "number", int, 0),
            pthread=read(source, "pthread", int, 0),
            name=read(source, "name", str, ""),
            registers=MappingProxyType(dict(registers)),
            xstate=read(source, "xstate", bytes, b""),
            signal_mask=signals_in(read(source, "sigmask", int, 0)),
            stop=_own_stop(None if stop is None else Siginfo.of(stop)),
            held_signal=read(source, "held_signal", int, 0),
            queued=tuple(Siginfo.of(each) for each in read(source, "queued", list, [])),
            ended=read(source, "ended", bool, False),
        )


def _own_stop(stop: Optional[Siginfo]) -> Optional[Siginfo]:
    """None for a stop that ptrace(2) made for the tracer: SIGTRAP with an event or 0x80 above it in
    si_code.
    """
    if stop is not None and stop.signal == 5 and stop.code & 0x7F == 5 and stop.code >> 7:
        return None
    return stop


def signals_in(mask: int) -> FrozenSet[int]:
    """The numbers of the signals in a mask of the kernel's, where bit N-1 is signal N."""
    return frozenset(number for number in range(1, 65) if mask >> (number - 1) & 1)


class KeptFile(NamedTuple):
    """A file of the program's as it was at the save. `object` names its content in the store (hash
    and last component of a path), or is None when the content was not kept.
    """

    path: str
    deleted: bool
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    object: Optional[Tuple[str, str]]

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "KeptFile":
        """From a file of the record. Raises RecordError."""
        found = source.get("object")
        stored = None
        if found is not None:
            if not isinstance(found, dict):
                raise RecordError('damaged record: "object" is not a table')
            stored = (read(found, "hash", str), read(found, "name", str))
        return cls(
            read(source, "path", str),
            read(source, "deleted", bool, False),
            read(source, "device", int),
            read(source, "inode", int),
            read(source, "size", int),
            read(source, "mtime_ns", int),
            read(source, "ctime_ns", int),
            stored,
        )


_BACKINGS = ("anonymous", "private-file", "shared-file", "shared-anonymous", "kernel", "lost")


class SavedMapping(NamedTuple):
    """A mapping from `start` up to but not including `end`. `prot` is as in /proc/PID/maps
    ("r-xp"), `offset` is in the file in bytes, `backing` one of anonymous, private-file,
    shared-file, shared-anonymous, kernel, lost. `guards` are its guard pages.
    """

    start: int
    end: int
    prot: str
    offset: int
    path: str
    backing: str
    flags: Tuple[str, ...]
    file: Optional[KeptFile]
    guards: Tuple[Tuple[int, int], ...]

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "SavedMapping":
        """From a mapping of the record. Raises RecordError."""
        file = source.get("file")
        guards: List[Tuple[int, int]] = []
        for pair in read(source, "guards", list, []):
            if (
                not isinstance(pair, list)
                or len(pair) != 2
                or not all(type(n) is int for n in pair)
            ):
                raise RecordError("damaged record: a guard is not a pair of addresses")
            guards.append((pair[0], pair[1]))
        found = cls(
            read(source, "start", int),
            read(source, "end", int),
            read(source, "prot", str),
            read(source, "offset", int),
            read(source, "path", str),
            read(source, "backing", str),
            read_list(source, "flags", str),
            None if file is None else KeptFile.of(read(source, "file", dict)),
            tuple(guards),
        )
        whole = found.start % PAGE_BYTES == 0 == found.end % PAGE_BYTES
        with_file = found.backing in ("private-file", "shared-file")
        if (
            not 0 <= found.start < found.end <= 1 << 64
            or not whole
            or found.backing not in _BACKINGS
            or (with_file and found.file is None)
            or found.offset < 0
            or any(not found.start <= start < end <= found.end for start, end in found.guards)
        ):
            raise RecordError(f"damaged record: the mapping at {found.start:#x}")
        return found

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.end - self.start


def mappings_of(source: Mapping[str, Any]) -> Tuple[SavedMapping, ...]:
    """The mappings of a record's `memory`, in ascending order. Raises RecordError."""
    found = tuple(SavedMapping.of(each) for each in read_list(source, "mappings", dict))
    if any(after.start < before.end for before, after in zip(found, found[1:])):
        raise RecordError("damaged record: mappings overlap or are out of order")
    return found


class SavedDescriptor(NamedTuple):
    """A file descriptor. Descriptors with the same `description` share one open file description,
    and so its offset. `kind` and `details` are those of docs/format.md; `flags` as in open(2);
    `file` is the file it has open, for those that have one.
    """

    fd: int
    close_on_exec: bool
    description: int
    kind: str
    path: str
    flags: int
    offset: int
    file: Optional[KeptFile]
    details: Mapping[str, Any]


def descriptors_of(
    process: Mapping[str, Any], shared: Mapping[str, Any]
) -> Tuple[SavedDescriptor, ...]:
    """The descriptors of a process, which lead to what a record has as `shared`, in ascending
    order. Raises RecordError.
    """
    descriptions = read_list(shared, "descriptions", dict)
    found = []
    for each in read_list(process, "descriptors", dict):
        index = read(each, "description", int)
        if not 0 <= index < len(descriptions):
            raise RecordError("damaged record: a descriptor of a description that is not there")
        description = descriptions[index]
        file = description.get("file")
        details = description.get("details")
        found.append(
            SavedDescriptor(
                read(each, "fd", int),
                read(each, "close_on_exec", bool, False),
                index,
                read(description, "kind", str),
                read(description, "path", str),
                read(description, "flags", int, 0),
                read(description, "offset", int, 0),
                None if file is None else KeptFile.of(read(description, "file", dict)),
                MappingProxyType({} if details is None else read_dict(description, "details")),
            )
        )
    return tuple(found)


class SignalAction(NamedTuple):
    """What the program does with a signal: `handler` is 1 when it ignores it, else an address;
    `flags`, `restorer` and `mask` as in the kernel's struct sigaction.
    """

    handler: int
    flags: int
    restorer: int
    mask: FrozenSet[int]


class SignalState(NamedTuple):
    """The actions by signal number (a signal that is not there has the default action), and the
    signals queued for the process.
    """

    actions: Mapping[int, SignalAction]
    queued: Tuple[Siginfo, ...]

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "SignalState":
        """From a record's `signals`. Raises RecordError."""
        actions: Dict[int, SignalAction] = {}
        for each in read_list(source, "actions", dict):
            actions[read(each, "signal", int)] = SignalAction(
                read(each, "handler", int),
                read(each, "flags", int),
                read(each, "restorer", int),
                signals_in(read(each, "mask", int)),
            )
        queued = tuple(Siginfo.of(each) for each in read(source, "queued", list, []))
        return cls(MappingProxyType(actions), queued)


class IntervalTimer(NamedTuple):
    """A timer of setitimer(2) that runs: `which` is real, virtual or prof; times in nanoseconds."""

    which: str
    remaining_ns: int
    interval_ns: int


class PosixTimer(NamedTuple):
    """A timer of timer_create(2). `clock` and `notify` are the kernel's numbers, `target` the
    thread that is signalled (0: the process); times in nanoseconds, 0 remaining when it does not
    run.
    """

    id: int
    clock: int
    notify: int
    signal: int
    value: int
    target: int
    remaining_ns: int
    interval_ns: int


class TimerState(NamedTuple):
    """The program's timers."""

    interval: Tuple[IntervalTimer, ...]
    posix: Tuple[PosixTimer, ...]

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> "TimerState":
        """From a record's `timers`, which may be empty. Raises RecordError."""
        interval = []
        for which, each in zip(("real", "virtual", "prof"), read_list(source, "interval", list)):
            if len(each) != 2:
                raise RecordError("damaged record: a timer")
            remaining, period = (_nanoseconds(time, 1000) for time in each)
            if remaining:
                interval.append(IntervalTimer(which, remaining, period))
        posix = [
            PosixTimer(
                read(each, "id", int),
                read(each, "clock", int),
                read(each, "notify", int),
                read(each, "signal", int),
                read(each, "value", int),
                read(each, "target", int),
                _nanoseconds(each.get("remaining"), 1),
                _nanoseconds(each.get("interval"), 1),
            )
            for each in read_list(source, "posix", dict)
        ]
        return cls(tuple(interval), tuple(posix))


def _nanoseconds(time: Any, unit_ns: int) -> int:
    if not isinstance(time, list) or len(time) != 2 or not all(type(part) is int for part in time):
        raise RecordError("damaged record: a time")
    return int(time[0] * 1_000_000_000 + time[1] * unit_ns)
