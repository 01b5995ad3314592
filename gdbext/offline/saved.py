"""What a snapshot holds besides memory, as typed, immutable values: threads, mappings, descriptors,
signals, timers.

`records.py` has what a restore under GDB needs; this is what a script asks that looks into a
snapshot without a process. The native module has checked what they are made from.
"""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple

if TYPE_CHECKING:
    from .. import record_types

PAGE_BYTES = 4096


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
    def of(cls, raw: bytes) -> "Siginfo":
        """From the kernel's structure."""
        signal, _, code = struct.unpack_from("<iii", raw)
        # SIGILL, SIGBUS, SIGFPE, SIGSEGV and SIGTRAP of the kernel have an address; what a
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
    def of(cls, source: record_types.Thread) -> "SavedThread":
        """From a thread of the record."""
        stop = source["stop_info"]
        return cls(
            tid=source["tid"],
            remembered=source["remembered"],
            number=source["number"],
            pthread=source["pthread"],
            name=source["name"],
            registers=MappingProxyType(source["registers"]),
            xstate=source["xstate"],
            signal_mask=signals_in(source["sigmask"]),
            stop=_own_stop(None if stop is None else Siginfo.of(stop)),
            held_signal=source["held_signal"],
            queued=tuple(Siginfo.of(each) for each in source["queued"]),
            ended=source["ended"],
        )


def _own_stop(stop: Optional[Siginfo]) -> Optional[Siginfo]:
    """None for a stop that ptrace(2) made for the tracer: SIGTRAP with an event or 0x80 above it in
    si_code.
    """
    if stop is not None and stop.signal == 5 and stop.code & 0x7F == 5 and stop.code >> 7:
        return None
    return stop


def signals_in(mask: int) -> FrozenSet[int]:
    """The numbers of the signals in a mask of the kernel, where bit N-1 is signal N."""
    return frozenset(number for number in range(1, 65) if mask >> (number - 1) & 1)


class KeptFile(NamedTuple):
    """A file of the program as it was at the save. `object` names its content in the store (hash
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
    def of(cls, source: record_types.File) -> "KeptFile":
        """From a file of the record."""
        stored = source["object"]
        return cls(
            source["path"],
            source["deleted"],
            source["device"],
            source["inode"],
            source["size"],
            source["mtime_ns"],
            source["ctime_ns"],
            None if stored is None else (stored["hash"], stored["name"]),
        )


def _kept(source: Optional[record_types.File]) -> Optional[KeptFile]:
    return None if source is None else KeptFile.of(source)


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
    def of(cls, source: record_types.Mapping) -> "SavedMapping":
        """From a mapping of the record."""
        return cls(
            source["start"],
            source["end"],
            source["prot"],
            source["offset"],
            source["path"],
            source["backing"],
            tuple(source["flags"]),
            _kept(source["file"]),
            tuple((start, end) for start, end in source["guards"]),
        )

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.end - self.start


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
    process: record_types.Image, shared: record_types.Shared
) -> Tuple[SavedDescriptor, ...]:
    """The descriptors of a process, which lead to what a record has as `shared`, in ascending
    order.
    """

    def descriptor(source: record_types.Descriptor) -> SavedDescriptor:
        description = shared["descriptions"][source["description"]]
        return SavedDescriptor(
            source["fd"],
            source["close_on_exec"],
            source["description"],
            description["kind"],
            description["path"],
            description["flags"],
            description["offset"],
            _kept(description["file"]),
            MappingProxyType(description["details"] or {}),
        )

    return tuple(descriptor(each) for each in process["descriptors"])


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
    def of(cls, source: record_types.Signals) -> "SignalState":
        """From a record's `signals`."""
        actions: Dict[int, SignalAction] = {
            each["signal"]: SignalAction(
                each["handler"], each["flags"], each["restorer"], signals_in(each["mask"])
            )
            for each in source["actions"]
        }
        queued = tuple(Siginfo.of(each) for each in source["queued"])
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
    def of(cls, source: record_types.Timers) -> "TimerState":
        """From a record's `timers`."""
        interval = []
        for which, each in zip(("real", "virtual", "prof"), source["interval"]):
            remaining, period = (_nanoseconds(time, 1000) for time in each)
            if remaining:
                interval.append(IntervalTimer(which, remaining, period))
        posix = [
            PosixTimer(
                each["id"],
                each["clock"],
                each["notify"],
                each["signal"],
                each["value"],
                each["target"],
                _nanoseconds(each["remaining"], 1),
                _nanoseconds(each["interval"], 1),
            )
            for each in source["posix"]
        ]
        return cls(tuple(interval), tuple(posix))


def _nanoseconds(time: List[int], unit_ns: int) -> int:
    seconds, units = time
    return seconds * 1_000_000_000 + units * unit_ns
