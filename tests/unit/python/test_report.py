"""What is printed: for people, and as JSON."""

from __future__ import annotations

import json
from typing import List, Optional

import pytest
from gdbext.records import Fidelity, Record
from gdbext.store.store import Deleted
from gdbext.text import report
from support.records import described


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


def test_json_of_any_bytes() -> None:
    text = "größe\x1b[2J\x7f\x9b\udcff\u202e"
    shown = report.as_json({"name": text})
    assert json.loads(shown) == {"name": text}
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "größe" in shown


def test_what_is_shown_keeps_its_lines() -> None:
    assert report.shown("a\tb\nc\x1b[2J\udcff\r") == "a\tb\nc\\x1b[2J\\xff\\r"


def test_printable_keeps_the_terminal_safe() -> None:
    assert report.printable("größe ok") == "größe ok"
    assert report.printable("a\x1b[2Jb\nc\x07") == r"a\x1b[2Jb\nc\x07"


@pytest.mark.parametrize(
    "place, width, expected",
    [
        ("main at server.c:88", None, "s, 4 threads, stopped in main at server.c:88"),
        ("SIGABRT in audit at q.c:9", None, "s, 4 threads, stopped by SIGABRT in audit at q.c:9"),
        ("SIGSEGV", None, "s, 4 threads, stopped by SIGSEGV"),
        ("0x4662b6 in gawk", None, "s, 4 threads, stopped at 0x4662b6 in gawk"),
        ("SIGINT at 0x4662b6 in gawk", None, "s, 4 threads, stopped by SIGINT at 0x4662b6 in gawk"),
        ("SIGNAL_loop at q.c:9", None, "s, 4 threads, stopped in SIGNAL_loop at q.c:9"),
        ("main at server.c:88", 80, "s, 4 threads, stopped in main at server..."),
        ("main at server.c:88", 60, "s, 4 threads"),
        ("a\x1bb", None, r"s, 4 threads, stopped in a\x1bb"),
        ("", 80, "s, 4 threads"),
    ],
)
def test_saved(place: str, width: Optional[int], expected: str) -> None:
    line = report.saved("before-crash", 1258291, 0.034, 4, place, width)
    assert line == f'Saved "before-crash": 1.2 MiB in 0.03 {expected}'
    assert width is None or len(line) <= width


@pytest.mark.parametrize(
    "text, width, expected",
    [
        ("short", 5, "short"),
        ("longer text", 8, "longe..."),
        ("longer text", 2, ".."),
        ("longer text", None, "longer text"),
        ("\u6f22\u5b57\u6f22\u5b57", 7, "\u6f22\u5b57..."),  # two columns each
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    ],
)
def test_cut(text: str, width: Optional[int], expected: str) -> None:
    assert report.cut(text, width) == expected


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
    record = Record.of(described())
    line = report.restored(record, "before-crash", 1234, "saved", 0.126)
    assert line.startswith('Restored "before-crash", saved 20')
    assert line.endswith(": process 1234, 2 threads (ids kept), in 0.13 s")
    assert report.restored(record, "x", 1, "virtual", 2).endswith("(new ids), in 2.00 s")


def test_deleted() -> None:
    assert report.deleted(Deleted(("a", "b"), 2048, "")) == ['Deleted "a", "b": 2.0 KiB freed']
    assert (
        report.deleted(Deleted(("a",), 0, "kept files stay: why"))[1]
        == "note: kept files stay: why"
    )


def test_info() -> None:
    text = "\n".join(report.info("before-crash", "/s/x.ckpt", Record.of(described())))
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
    assert "Vdso:" not in text
    lines = report.info("one", "/s/x.ckpt", Record.of(described()), (), "of Linux 6.1")
    assert any(line.startswith("Vdso: ") and line.endswith(" of Linux 6.1") for line in lines)


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["server", "-n", "two words", "it's"], """-n 'two words' 'it'"'"'s'"""),
        (["server", "", "x"], "'' x"),
        (["server title", "", ""], None),  # written over by the program
        (["server"], None),
    ],
)
def test_arguments(argv: List[str], shown: Optional[str]) -> None:
    program = {**described()["program"], "argv": argv}
    lines = report.info("one", "/s/x.ckpt", Record.of(described(program=program)))
    found = [line.split(None, 1)[1] for line in lines if line.startswith("Arguments:")]
    assert found == ([] if shown is None else [shown])


def test_info_says_which_ids() -> None:
    plain = described()
    lines = report.info("first", "/s/x.ckpt", Record.of(plain))
    assert not any("remember" in line or line.startswith("Restored:") for line in lines)
    again = described(
        threads=[{**each, "remembered": each["tid"] + 700} for each in plain["threads"]]
    )
    here = (report.RestoredHere(1, 91, "virtual"), report.RestoredHere(2, 42, "saved"))
    lines = report.info("again", "/s/y.ckpt", Record.of(again), here)
    assert any(
        line.endswith("inferior 1, process 91 (new ids); inferior 2, process 42 (ids kept)")
        for line in lines
    )
    assert any(line.startswith("Ids:") and "restored with new ids" in line for line in lines)
    assert "* 3    LWP 43 (remembered as 743) worker" in lines
    found = json.loads(report.info_json("again", "/s/y.ckpt", Record.of(again), here))
    assert found["restored"][0] == {"inferior": 1, "pid": 91, "ids": "virtual"}


def test_info_as_json_is_the_whole_record() -> None:
    found = json.loads(report.info_json("renamed", "/s/renamed.ckpt", Record.of(described())))
    assert found["name"] == "renamed" and found["file"] == "/s/renamed.ckpt"
    assert found["host"]["cpu_flags"] == ["avx2"]
