"""Values of a record that the core has checked."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from gdbext.offline.memory import Contents, object_path
from gdbext.offline.saved import (
    SavedMapping,
    SavedThread,
    Siginfo,
    SignalState,
    TimerState,
    descriptors_of,
    signals_in,
)
from hypothesis import given
from hypothesis import strategies as st
from pathlib import Path

FILE: Any = {
    "path": "/x", "deleted": False, "device": 1, "inode": 2, "size": 3, "mtime_ns": 4,
    "ctime_ns": 5, "object": None,
}  # fmt: skip


def mapping(**changes: Any) -> Any:
    return {
        "start": 0x1000, "end": 0x3000, "prot": "r--p", "offset": 0, "path": "/x",
        "backing": "private-file", "flags": ["rd"], "file": FILE, "guards": [], **changes,
    }  # fmt: skip


def test_a_mapping() -> None:
    found = SavedMapping.of(mapping(guards=[[0x1000, 0x2000]]))
    assert (found.start, found.size, found.guards) == (0x1000, 0x2000, ((0x1000, 0x2000),))
    assert found.file is not None and found.file.path == "/x"


def siginfo(signal: int, code: int, word: int) -> bytes:
    return struct.pack("<iiiiQ", signal, 0, code, 0, word).ljust(128, b"\0")


@pytest.mark.parametrize(
    ("raw", "pid", "address"),
    [
        (siginfo(11, 1, 0xdead), None, 0xdead),  # SEGV_MAPERR
        (siginfo(11, 0, 77), 77, None),  # kill
        (siginfo(10, -6, 77), 77, None),  # tgkill
        (siginfo(17, 1, 77), 77, None),  # CLD_EXITED
        (siginfo(14, 128, 0), None, None),  # an interval timer
    ],
)  # fmt: skip
def test_a_siginfo(raw: bytes, pid: object, address: object) -> None:
    found = Siginfo.of(raw)
    assert (found.pid, found.address) == (pid, address)


def thread(**changes: Any) -> Any:
    return {
        "tid": 1, "remembered": 1, "number": 0, "pthread": 0, "name": "x", "registers": {},
        "xstate": b"", "sigmask": 0, "stop_info": None, "held_signal": 0, "queued": [],
        "ended": False, **changes,
    }  # fmt: skip


def test_the_stop_of_a_tracer_is_no_signal() -> None:
    def stop(raw: bytes) -> object:
        return SavedThread.of(thread(stop_info=raw)).stop

    assert stop(siginfo(5, 0x8005, 1)) is None
    assert stop(siginfo(5, 0x85, 1)) is None
    assert stop(siginfo(5, 1, 0x400000)) is not None
    assert stop(siginfo(11, 1, 0)) is not None


def test_descriptors() -> None:
    description: Any = {
        "kind": "file", "path": "/x", "flags": 2, "offset": 7, "file": FILE, "details": None,
    }  # fmt: skip
    shared: Any = {"descriptions": [description]}
    process: Any = {
        "descriptors": [{"fd": fd, "close_on_exec": False, "description": 0} for fd in (3, 4)]
    }
    first, second = descriptors_of(process, shared)
    assert first.description == second.description and first.file == second.file


def test_signals_and_timers() -> None:
    actions: Any = [{"signal": 10, "handler": 1, "flags": 0, "restorer": 0, "mask": 1 << 11}]
    found = SignalState.of({"actions": actions, "queued": []})
    assert found.actions[10].mask == {12}
    nothing = [[0, 0], [0, 0]]
    timers = TimerState.of({"interval": [nothing, [[1, 5], [0, 2]], nothing], "posix": []})
    assert [(t.which, t.remaining_ns, t.interval_ns) for t in timers.interval] == [
        ("virtual", 1_000_005_000, 2000)
    ]


@given(st.sets(st.integers(1, 64)))
def test_masks(signals: "set[int]") -> None:
    assert signals_in(sum(1 << number - 1 for number in signals)) == signals


GOOD = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "stored",
    [
        ("../" + GOOD[3:], "x"), (GOOD[:31], "x"), (GOOD.upper(), "x"), (GOOD, "../x"),
        (GOOD, ".."), (GOOD, "."), (GOOD, ""), (GOOD, "a\0b"), (GOOD + "\n", "x"), ("", "x"),
    ],
)  # fmt: skip
def test_an_object_outside_the_store(stored: "tuple[str, str]", tmp_path: Path) -> None:
    """A record may come from anybody: it must not name files elsewhere."""
    assert object_path(tmp_path, stored) is None
    assert object_path(tmp_path, (GOOD, "x")) == tmp_path / "objects" / "01" / GOOD / "x"
    assert Contents([tmp_path])
