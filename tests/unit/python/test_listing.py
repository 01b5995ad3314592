"""`ckpt list`: which snapshots, and the table that fits its terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, List, Optional, Sequence

import pytest
from gdbext.errors import UsageError
from gdbext.records import Record
from gdbext.store.store import Entry
from gdbext.text import listing, report
from support.records import described

LS = {"path": "/usr/bin/ls", "argv": []}
PLACE = "SIGABRT in queue_audit at queue.c:290"
WIDE = 500


def entry(
    name: str, created: float = 1795218062.0, external: bool = False, **changes: Any
) -> Entry:
    path = Path("/elsewhere" if external else "/s/snapshots") / f"{name}.ckpt"
    record = Record.of(described(**{"created": created, "place": PLACE, **changes}))
    return Entry(name, path, external, record, "")


BAD = Entry("bad", Path("/nowhere/bad.ckpt"), False, None, "not a snapshot")
ENTRIES = (
    entry("before-crash", message="queue is already broken"),
    entry(
        "far", 1795218063.0, external=True, message="two\nlines", program=LS
    ),
    BAD,
)


def shown(
    entries: Sequence[Entry], width: Optional[int], current: Optional[float] = None
) -> List[str]:
    return listing.table(listing.rows(entries, current), width)


def test_everything_where_there_is_room() -> None:
    for width in (None, WIDE):
        lines = shown(ENTRIES, width)
        assert lines[0].split() == [
            "Name", "Saved", "Size", "Threads", "Program", "Message", "Stopped", "at",
        ]  # fmt: skip
        assert lines[1].index("queue is already") < lines[1].index(PLACE)
        assert lines[1].index("before-crash") == lines[0].index("Name") == 0
        assert lines[1].index("2026-") == lines[0].index("Saved")
        assert "far (/elsewhere/far.ckpt)" in lines[2] and r"two\nlines" in lines[2]
        assert "cannot be read: not a snapshot" in lines[3]
        assert lines[4].startswith("3 snapshots, 241.1 KiB") and len(lines) == 5


def test_the_one_that_the_program_came_from_has_a_star() -> None:
    lines = shown(ENTRIES, None, 1795218063.0)
    assert [line[0] for line in lines[:4]] == [" ", " ", "*", " "]
    assert lines[0].index("Name") == lines[1].index("before-crash") == 3


@pytest.mark.parametrize("width", range(48, 200))
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    lines = shown((*ENTRIES, entry("a-name-of-a-snapshot", message="m" * 300)), width, 1795218063.0)
    assert max(map(report.columns, lines)) <= width
    for word in ("before-crash", "far", "bad", "a-name-of-a-snapshot"):
        assert any(word in line for line in lines)
    assert width < 72 or "2026-" in lines[1]


def test_what_tells_snapshots_apart_stays_longest() -> None:
    entries = (entry("one", message="short"), entry("two", message="m" * 300))
    lines = shown(entries, 80)
    assert "Threads" not in lines[0] and "Program" not in lines[0]  # of one program all
    assert "short" in lines[1] and "SIGABRT in queue_a..." in lines[1]
    assert "mmm..." in lines[2]
    assert "Program" in shown((*entries, entry("ls", program=LS)), 90)[0]


def test_of_a_path_the_end_stays() -> None:
    entries = (entry("one", message="m"), entry("two", external=True, message="m"))
    assert "two (/elsewhere/two.ckpt)" in shown(entries, 104)[2]
    assert "two (...e/two.ckpt)" in shown(entries, 96)[2]
    assert "two  " in shown(entries, 72)[2] and "(" not in shown(entries, 72)[2]


def test_an_older_snapshot_tells_its_place_at_length() -> None:
    old = entry("old", place="", stop="report (job=4) at jobs.c:32")
    assert "report (job=4) at jobs.c:32" in shown([old], None)[1]


OBJECTS = [{"hash": "aa", "size": 1024, "path": "/x", "name": "x"}]


def test_the_sum_counts_what_is_shared_once() -> None:
    found = [entry(name, objects=OBJECTS, file_bytes=1024) for name in ("one", "two")]
    assert listing.total(found) == "2 snapshots, 2.0 KiB, and 1.0 KiB of files kept for them"
    assert listing.total([entry("one", objects=[], file_bytes=5)]) == "1 snapshot, 5 bytes"


@pytest.mark.parametrize(
    "patterns, options, expected",
    [
        ((), {}, "a-1 a-2 b-1"),
        (("a-*",), {}, "a-1 a-2"),
        (("b-1", "a-?"), {}, "a-1 a-2 b-1"),
        (("nosuch",), {}, ""),
        ((), {"newest": 2}, "a-2 b-1"),
        ((), {"newest": 0}, ""),
        ((), {"newest": 9}, "a-1 a-2 b-1"),
        (("a-*",), {"newest": 1}, "a-2"),
        ((), {"program": "ls"}, "b-1"),
        ((), {"program": "/usr/bin/ls"}, "b-1"),
        ((), {"program": "serv*"}, "a-1 a-2"),
        ((), {"program": "s"}, ""),
    ],
)
def test_some_of_them(patterns: Sequence[str], options: Any, expected: str) -> None:
    every = [entry("a-1", 1), entry("a-2", 2), entry("b-1", 3, program=LS)]
    found = listing.chosen(every, patterns, **options)
    assert " ".join(each.name for each in found) == expected


@pytest.mark.parametrize("text", ["", "-1", "x", "1e3", "9999999999"])
def test_newest_is_a_number(text: str) -> None:
    with pytest.raises(UsageError, match="-newest needs a number"):
        listing.number(text)


def test_as_json() -> None:
    parent = {"name": "before-crash", "created": 1795218062.0}
    rows = json.loads(
        listing.as_json(
            listing.rows((*ENTRIES, entry("new", 1795218064.0, parent=parent)), 1795218062.0)
        )
    )
    assert [row["name"] for row in rows] == ["before-crash", "far", "bad", "new"]
    assert [row["current"] for row in rows] == [True, False, False, False]
    assert rows[0]["bytes"] == 123456 and rows[0]["threads"] == 2 and rows[0]["place"] == PLACE
    assert rows[1]["external"] is True and rows[0]["parent"] is None
    assert rows[2]["problem"] == "not a snapshot"
    assert rows[3]["parent"] == parent
