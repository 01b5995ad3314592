"""What is printed: for people, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gdbext import report
from gdbext.records import Fidelity, Record
from gdbext.store import Deleted, Entry
from test_records import table


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1258291, "1.2 MiB"),
        (3 << 30, "3.0 GiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert report.size(count) == text


@pytest.mark.parametrize("count, text", [(0, "0 threads"), (1, "1 thread"), (4, "4 threads")])
def test_counted(count: int, text: str) -> None:
    assert report.counted(count, "thread") == text


def test_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(report.moment(1795218062.25)) == len("2026-11-20 23:41:02")
    assert report.moment(float("nan")) == "at an unknown time"
    assert report.moment(1e300) == "at an unknown time"


def test_printable_keeps_the_terminal_safe() -> None:
    assert report.printable("größe ok") == "größe ok"
    assert report.printable("a\x1b[2Jb\nc\x07") == r"a\x1b[2Jb\nc\x07"


def test_saved() -> None:
    line = report.saved("before-crash", 1258291, 0.034, 4, "main () at server.c:88")
    assert (
        line
        == 'Saved "before-crash": 1.2 MiB in 0.03 s, 4 threads, stopped at main () at server.c:88'
    )


def test_fidelity_is_worst_first() -> None:
    found = [
        Fidelity("note", "process", "x", "three"),
        Fidelity("lost", "fd 5", "socket", "one"),
        Fidelity("changed", "fd 6", "timer", "two"),
    ]
    assert report.fidelity(found) == [
        "Will not come back as it was:",
        "  lost: fd 5: socket: one",
        "  changed: fd 6: timer: two",
        "  note: process: x: three",
    ]
    assert report.fidelity([]) == []


def test_restored() -> None:
    record = Record.of(table())
    line = report.restored(record, "before-crash", 1234, "saved")
    assert line.startswith('Restored "before-crash", saved 20')
    assert line.endswith(": process 1234, 2 threads (ids kept)")
    assert report.restored(record, "x", 1, "virtual").endswith("(new ids)")


def test_deleted() -> None:
    assert report.deleted(Deleted(("a", "b"), 2048, "")) == ['Deleted "a", "b": 2.0 KiB freed']
    assert (
        report.deleted(Deleted(("a",), 0, "kept files stay: why"))[1]
        == "note: kept files stay: why"
    )


ENTRIES = (
    Entry("before-crash", Path("/s/snapshots/before-crash.ckpt"), False, Record.of(table()), ""),
    Entry(
        "far",
        Path("/elsewhere/far.ckpt"),
        True,
        Record.of({**table(), "message": "two\nlines"}),
        "",
    ),
    Entry("bad", Path("/nowhere/bad.ckpt"), False, None, "not a snapshot"),
)


def test_table() -> None:
    lines = report.table(ENTRIES)
    assert len(lines) == 4
    assert lines[0].split()[:2] == ["Name", "Saved"]
    assert "before-crash" in lines[1] and "120.6 KiB" in lines[1] and "server.c:88" in lines[1]
    assert "far (/elsewhere/far.ckpt)" in lines[2] and r"two\nlines" in lines[2]
    assert "cannot be read: not a snapshot" in lines[3]
    # A column is as wide as its widest cell, so all start at the same place.
    assert len({line.index(word) for line, word in ((lines[0], "Saved"), (lines[1], "2026"))}) == 1


def test_table_as_json() -> None:
    rows = json.loads(report.table_json(ENTRIES))
    assert [row["name"] for row in rows] == ["before-crash", "far", "bad"]
    assert rows[0]["bytes"] == 123456 and rows[0]["threads"] == 2
    assert rows[1]["external"] is True
    assert rows[2]["problem"] == "not a snapshot"


def test_info() -> None:
    text = "\n".join(report.info("before-crash", "/s/x.ckpt", Record.of(table())))
    for word in (
        "before-crash",
        "queue is already",
        "/usr/bin/server",
        "LWP 42",
        "signal 11 held",
        "fd 5",
        "-v",
        "/srv",
    ):
        assert word in text
    assert "* 3    LWP 43 worker" in text


def test_info_says_which_ids() -> None:
    plain = table()
    lines = report.info("first", "/s/x.ckpt", Record.of(plain))
    assert not any("remember" in line or line.startswith("Restored:") for line in lines)
    again = {**plain, "threads": [{**each, "remembered": each["tid"] + 700} for each in plain["threads"]]}
    here = (report.RestoredHere(1, 91, "virtual"), report.RestoredHere(2, 42, "saved"))
    lines = report.info("again", "/s/y.ckpt", Record.of(again), here)
    assert any(line.endswith("inferior 1, process 91 (new ids); inferior 2, process 42 (ids kept)") for line in lines)
    assert any(line.startswith("Ids:") and "restored with new ids" in line for line in lines)
    assert "* 3    LWP 43 (remembered as 743) worker" in lines
    found = json.loads(report.info_json("again", "/s/y.ckpt", Record.of(again), here))
    assert found["restored"][0] == {"inferior": 1, "pid": 91, "ids": "virtual"}


def test_info_as_json_is_the_whole_record() -> None:
    found = json.loads(report.info_json("renamed", "/s/renamed.ckpt", Record.of(table())))
    assert found["name"] == "renamed" and found["file"] == "/s/renamed.ckpt"
    assert found["host"]["cpu_flags"] == ["avx2"]
