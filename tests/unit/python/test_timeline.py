"""Positions of recordings as they are written and shown, the picture of one, and the talk with the
server.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gdbext.debugger import replayserver
from gdbext.errors import CkptError, UsageError
from gdbext.text import timeline
from gdbext.text.timeline import Mark, Position

HERE = Position(40, 100, 812, "/x/server", "/x/bug.rec", None, False)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("begin", "begin"),
        ("end", "end"),
        ("0", "0"),
        ("100", "100"),
        ("+1", "41"),
        ("-1", "39"),
        ("-40", "0"),
        ("-41", "0"),
        ("+60", "end"),
        ("+1000000", "end"),
        ("0%", "0"),
        ("50%", "50"),
        ("33.4%", "33"),
        ("100%", "end"),
    ],
)
def test_positions_are_read(text: str, wanted: str) -> None:
    assert timeline.target(text, HERE) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "+", "-", "%", "101", "101%", "100.1%", "-5%", "1.5", "0x10", "End", "e", "\u0664", "1 2"]
    + ["9" * 30, "+" + "9" * 30, "1e3", "+-1"],
)
def test_other_positions_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        timeline.target(text, HERE)


def test_where_a_rewind_begins() -> None:
    for text in ("begin", "end", "7"):
        assert timeline.check_start(text) == text
    for text in ("+1", "-1", "50%", "", "kept"):
        with pytest.raises(UsageError):
            timeline.check_start(text)


def test_arrival() -> None:
    end = HERE._replace(event=98, at_end=True)
    assert timeline.is_at("40", HERE) and timeline.is_at("39", HERE)
    assert not timeline.is_at("41", HERE) and not timeline.is_at("end", HERE)
    assert timeline.is_at("begin", HERE._replace(event=0))
    # What comes last is no place of its own.
    assert timeline.is_at("100", end) and timeline.is_at("end", end)


def test_where() -> None:
    assert timeline.where(HERE) == "event 40 of 100 (40.0 %), thread 812"
    begin, end = HERE._replace(event=0), HERE._replace(event=98, at_end=True)
    assert timeline.where(begin) == "event 0 of 100 (the begin), thread 812"
    assert timeline.where(end) == "event 98 of 100 (the end), thread 812"
    empty = Position(0, 0, 1, "", "", None, True)
    assert timeline.where(empty) == "event 0 of 0 (the end), thread 1"
    assert timeline.rewound("b.rec", HERE._replace(signal="SIGSEGV")) == (
        "Rewound b.rec: event 40 of 100 (40.0 %), thread 812, program /x/server; received SIGSEGV"
    )


def test_what_the_server_tells() -> None:
    table = HERE._asdict()
    assert Position.of(table) == HERE
    assert HERE.table()["percent"] == 40.0
    broken: list[object] = [None, [], {}, {**table, "event": "x"}, {**table, "events": None}]
    for wrong in broken:
        with pytest.raises(CkptError):
            Position.of(wrong)
    marks = [{"event": 2, "kind": "output", "thread": 1, "what": "fd 1, 5 bytes"}]
    assert timeline.marks_of({"marks": marks}) == [Mark(2, "output", 1, "fd 1, 5 bytes")]
    broken = [None, {}, {"marks": [{}]}, {"marks": [None]}]
    for wrong in broken:
        with pytest.raises(CkptError):
            timeline.marks_of(wrong)


MARKS = [
    Mark(1, "thread", 813, "started"),
    Mark(20, "output", 812, "fd 1, 5 bytes"),
    Mark(20, "signal", 812, "SIGUSR1"),
    Mark(60, "thread", 813, "ended"),
    Mark(70, "preemption", 813, ""),
    Mark(100, "exit", 812, "killed by SIGSEGV"),
]


def test_a_picture() -> None:
    lines = timeline.picture(HERE, MARKS, 53)
    assert lines == [
        "[+.........!...................-....*.............X]",
        "                     ^\nevent 40 of 100 (40.0 %), thread 812",
        "X end   ! signal   + thread started   - thread ended",
        "* other",
    ]
    assert lines[1].index("^") == 1 + 20


@pytest.mark.parametrize("width", [None, 1, 20, 21, 40, 80, 200])
@pytest.mark.parametrize("event", [0, 1, 50, 99, 100])
def test_pictures_fit(width: int | None, event: int) -> None:
    here = HERE._replace(event=event)
    lines = timeline.picture(here, MARKS, width)
    limit = max(20, (width or 80) - 1)
    assert len(lines[0]) == limit
    assert lines[1].split("\n")[0].rstrip() == lines[1].split("\n")[0]
    most = max(limit, len(timeline.where(here)))
    assert all(len(line) <= most for line in "\n".join(lines).split("\n"))
    assert lines[1].count("^") == 1 and timeline.where(here) in lines[1]


def test_a_picture_of_nothing() -> None:
    empty = Position(0, 0, 1, "/x", "/y", None, True)
    lines = timeline.picture(empty, [], 40)
    assert lines[0] == "[" + "." * 37 + "]"
    assert timeline.nearby(empty, []) == [">  0  1  you are here"]


def test_what_is_nearby() -> None:
    marks = [Mark(at, "output", 812, f"fd 1, {at} bytes") for at in range(0, 100, 2)]
    lines = timeline.nearby(HERE, marks, 2)
    assert lines == [
        "   event  thread",
        "   (18 notable events before)",
        "   36     812     output: fd 1, 36 bytes",
        "   38     812     output: fd 1, 38 bytes",
        ">  40     812     you are here",
        "   40     812     output: fd 1, 40 bytes",
        "   42     812     output: fd 1, 42 bytes",
        "   (28 notable events after)",
    ]


def test_what_is_told_drives_no_terminal() -> None:
    line = timeline.last_write("\x1b[2J", HERE, "1", "2")[0]
    assert "\x1b" not in line


# -- the server ------------------------------------------------------------------------------------


def test_the_target_is_one_for_a_shell() -> None:
    target = replayserver.target(Path("/a b/ckpt-replay-server"), "end", "/x/$(id) 'y'", "/e")
    assert target == (
        "| exec '/a b/ckpt-replay-server' --at end -- '/x/$(id) '\"'\"'y'\"'\"'' 2>>/e"
    )
    assert replayserver.is_server(target)
    assert not replayserver.is_server(None) and not replayserver.is_server("localhost:1234")


def test_packets() -> None:
    assert replayserver.framed(b"QC") == b"$QC#94"
    said = b"+$l/x/}\x03a#12+$" + b"{}".hex().encode() + b"#34"
    assert replayserver.replies(said) == (b"l/x/#a", b"7b7d")


def test_problems_of_the_server() -> None:
    assert replayserver.problem_in(b"ckpt-replay-server: open x: no\n") == "open x: no"
    assert replayserver.problem_in(b"sh: 1: not found\n") == "sh: 1: not found"
    assert replayserver.problem_in(b"") == ""


def _server(directory: Path, script: str) -> Path:
    server = directory / "server"
    server.write_text(f"#!/bin/sh\n{script}\n")
    server.chmod(0o755)
    return server


def test_a_recording_is_examined(tmp_path: Path) -> None:
    file = tmp_path / "bug.rec"
    file.write_text("")
    here = HERE._replace(program="/p")
    answer = f"+$l/p#00+${json.dumps(here._asdict()).encode().hex()}#00"
    server = _server(tmp_path, f"cat >/dev/null; printf '{answer}'")
    assert replayserver.examine(server, "end", str(file)) == replayserver.Examined("/p", here)
    for script, problem in (
        ("echo ckpt-replay-server: it is too old >&2; exit 1", f"{file}: it is too old"),
        ("exit 3", f"{file}: ckpt-replay-server ended with status 3"),
        ("cat >/dev/null; echo nonsense", "another version"),
        ("cat >/dev/null; printf '$l/p#00$E01#00'", "another version"),
    ):
        with pytest.raises(CkptError, match=problem):
            replayserver.examine(_server(tmp_path, script), "begin", str(file))
    for name, problem in (("none", "No such file"), (".", "no recording")):
        with pytest.raises(CkptError, match=problem):
            replayserver.examine(_server(tmp_path, "exit 0"), "begin", str(tmp_path / name))
