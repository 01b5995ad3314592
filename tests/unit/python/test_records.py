"""The record of a snapshot, and what helpers report, as values."""

from __future__ import annotations

import pytest
from gdbext.errors import RecordError
from gdbext.records import Checked, Fidelity, Finished, MovedLock, Record
from support.records import described


def test_all_fields() -> None:
    record = Record.of(described())
    assert record.name == "before-crash"
    assert record.created == 1795218062.25
    assert record.program == "/usr/bin/server" and record.program_name == "server"
    assert [thread.tid for thread in record.threads] == [42, 43]
    assert (record.selected_tid, record.selected_frame) == (43, 2)
    assert record.objects[0].hash == "aa"
    assert record.fidelity[0] == Fidelity("lost", "fd 5", "socket", "it is closed")
    assert record.file_bytes == 123456


def test_what_the_core_does_not_know() -> None:
    """The rest is checked in the core: tests/unit/snapshot_test.cpp, test_damaged_images.py."""
    assert Record.of(described(terminal=None)).terminal is None
    assert Record.of(described(session=None)).session == {}
    for key, value in (("terminal", 7), ("session", []), ("session", "text")):
        with pytest.raises(RecordError) as caught:
            Record.of(described(**{key: value}))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "severity, rank", [("lost", 0), ("changed", 1), ("note", 2), ("unheard of", 3)]
)
def test_the_worst_comes_first(severity: str, rank: int) -> None:
    assert Fidelity(severity, "fd 1", "x", "y").rank == rank


def test_checked() -> None:
    checked = Checked.of(
        {
            "executable": "/store/objects/aa/aa/server",
            "executable_replaced": True,
            "libraries": [{"path": "/lib/libx.so", "copy": "/store/libx.so"}],
            "notes": ["/lib/libx.so has changed"],
        }
    )
    assert checked.executable_replaced
    assert checked.libraries[0].copy == "/store/libx.so"
    with pytest.raises(RecordError):
        Checked.of({})


def test_finished() -> None:
    finished = Finished.of(
        {
            "threads": [{"saved_tid": 42, "tid": 99, "number": 1}],
            "held": [{"tid": 99, "signal": 11}],
            "ids": "virtual",
        }
    )
    assert finished.threads[0].tid == 99
    assert finished.held == ((99, 11),)
    with pytest.raises(RecordError):
        Finished.of({"threads": [{"tid": 1}]})


def test_moved_lock() -> None:
    lock = MovedLock.of({"address": 4096, "words": [{"offset": 8, "old": 42}]})
    assert lock == (4096, ((8, 42),))
    for words in ([], [{"offset": 8}], [{"offset": 8, "old": 1 << 32}], [{"offset": 8, "old": -1}]):
        with pytest.raises(RecordError):
            MovedLock.of({"address": 4096, "words": words})
