"""Records: an image may hold anything, and reading its record must never believe it."""

from __future__ import annotations

import copy
from typing import Any, Dict

import pytest
from gdbext.errors import RecordError
from gdbext.records import Checked, Fidelity, Finished, MovedLock, Record


def table() -> Dict[str, Any]:
    return {
        "format": 1,
        "creator": "gdb-ckpt 0.1.0",
        "created": 1795218062.25,
        "name": "before-crash",
        "message": "queue is already corrupt here",
        "stop": "main () at server.c:88",
        "host": {"kernel": "6.1.0", "hostname": "box", "boot_id": "b", "cpu_flags": ["avx2"]},
        "program": {
            "path": "/usr/bin/server",
            "argv": ["server", "-v"],
            "environ": [],
            "object": "aa",
        },
        "process": {"pid": 42, "cwd": "/srv"},
        "threads": [
            {"tid": 42, "number": 1, "name": "server", "pthread": 4096, "held_signal": 11},
            {"tid": 43, "number": 3, "name": "worker", "pthread": 8192, "held_signal": 0},
        ],
        "selected": {"tid": 43, "frame": 2},
        "files": [{"fd": 0, "kind": "terminal", "path": "/dev/pts/1"}],
        "terminal": {"iflag": 1, "oflag": 2, "cflag": 3, "lflag": 4, "cc": [3]},
        "fidelity": [
            {"severity": "lost", "object": "fd 5", "kind": "socket", "text": "it is closed"}
        ],
        "objects": [{"hash": "aa", "size": 100, "path": "/usr/bin/server"}],
        "session": {"format": 1},
        "file_bytes": 123456,
    }


def test_all_fields() -> None:
    record = Record.of(table())
    assert record.name == "before-crash"
    assert record.created == 1795218062.25
    assert record.program == "/usr/bin/server" and record.program_name == "server"
    assert [thread.tid for thread in record.threads] == [42, 43]
    assert (record.selected_tid, record.selected_frame) == (43, 2)
    assert record.objects[0].hash == "aa"
    assert record.fidelity[0] == Fidelity("lost", "fd 5", "socket", "it is closed")
    assert record.file_bytes == 123456


def test_what_may_be_missing() -> None:
    record = Record.of({"threads": [{"tid": 7, "number": 1}]})
    assert record.selected_tid == 7
    assert record.terminal is None and record.terminal_input == b""
    assert record.session == {}
    assert Record.of({**table(), "terminal": None}).terminal is None
    assert Record.of({**table(), "created": 3}).created == 3.0


def damaged(path: str, value: Any) -> Dict[str, Any]:
    """The table with the value at "a.b.0.c" replaced."""
    made = copy.deepcopy(table())
    *parents, last = path.split(".")
    place: Any = made
    for key in parents:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = value
    return made


@pytest.mark.parametrize(
    "path, value",
    [
        ("name", 5),
        ("name", None),
        ("created", "yesterday"),
        ("created", True),
        ("host", []),
        ("program", "server"),
        ("program.path", 1),
        ("program.argv", "server"),
        ("program.argv", [1]),
        ("process.pid", "42"),
        ("process.pid", True),
        ("threads", []),
        ("threads", {}),
        ("threads", [1]),
        ("threads.0.tid", None),
        ("threads.0.tid", 1.5),
        ("threads.0.name", b"x"),
        ("selected.frame", "2"),
        ("files", [[]]),
        ("objects", [None]),
        ("objects.0.hash", 1),
        ("fidelity.0.text", 0),
        ("terminal", 7),
        ("terminal_input", [256]),
        ("terminal_input", "text"),
        ("session", []),
        ("file_bytes", -0.5),
    ],
)
def test_damage_is_an_error(path: str, value: Any) -> None:
    with pytest.raises(RecordError) as caught:
        Record.of(damaged(path, value))
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
