"""How snapshots lead from one to the next."""

from __future__ import annotations

from pathlib import Path
from typing import List, Optional, Sequence

import pytest
from gdbext.records import Origin, Record, run_id
from gdbext.store import history
from gdbext.store.history import Position
from gdbext.store.store import Entry
from support.records import described


def entry(name: str, created: float, start_ticks: int, parent: Optional[Entry] = None) -> Entry:
    """A snapshot of the process that was started at `start_ticks`."""
    source = described()
    source["created"] = created
    source["process"]["start_ticks"] = start_ticks
    source["host"]["boot_id"] = "boot"
    if parent is not None:
        source["parent"] = {"name": parent.name, "created": parent.created}
    return Entry(name, Path(f"/s/{name}.ckpt"), False, Record.of(source), "")


# One process that was saved three times; two that were restored from its second snapshot; and one
# that was restored from a snapshot of the first of these.
A = entry("a", 10, 1)
B = entry("b", 20, 1)
C = entry("c", 30, 1)
D = entry("d", 40, 2, B)
E = entry("e", 50, 2, B)
F = entry("f", 60, 3, B)
G = entry("g", 70, 4, D)
BAD = Entry("bad", Path("/s/bad.ckpt"), False, None, "damaged")
EVERY = (A, B, C, D, E, F, G, BAD)


def names(entries: Sequence[Entry]) -> str:
    return "".join(each.name for each in entries)


def origin(of: Entry) -> Origin:
    return Origin(of.name, of.created)


@pytest.mark.parametrize(
    "position, expected",
    [
        (Position.of(A), ""),
        (Position.of(C), "ab"),
        (Position.of(E), "abd"),
        (Position.of(G), "abd"),
        # Restored, and gone on or not.
        (Position(run_id("boot", 42, 9), origin(B), None), "ab"),
        (Position(run_id("boot", 42, 9), origin(B), B.created), "a"),
        # A process that was saved, and has gone on.
        (Position(A.record.run if A.record else "", None, None), "abc"),
        (Position(run_id("boot", 42, 9), None, None), ""),
        # Not known which process it is.
        (Position("", origin(C), None), "abc"),
        # The snapshot was deleted.
        (Position("", Origin("gone", 25), None), ""),
    ],
)
def test_past(position: Position, expected: str) -> None:
    assert names(history.past(EVERY, position)) == expected


def test_a_copy_is_the_same_snapshot() -> None:
    assert names(history.past((*EVERY, B._replace(name="x")), Position.of(D))) == "ab"


def test_a_history_in_a_circle_ends() -> None:
    first = entry("x", 10, 1, entry("y", 20, 2))
    second = entry("y", 20, 2, first)
    assert names(history.past((first, second), Position("", origin(first), None))) == "yx"


def test_following() -> None:
    assert names(history.following(EVERY, A)) == "b"
    assert names(history.following(EVERY, B)) == "cfd"
    assert names(history.following(EVERY, D)) == "eg"
    assert names(history.following(EVERY, G)) == ""


def test_line() -> None:
    assert names(history.line(EVERY, Position.of(A))) == "abc"
    assert names(history.line(EVERY, Position.of(D))) == "abde"
    assert names(history.line(EVERY, Position("", origin(G), None))) == "abdg"
    only = (A, B, F)
    assert names(history.line(only, Position.of(A))) == "abf"


def test_tree() -> None:
    drawn: List[str] = [f"{lines}{each.name}" for lines, each in history.tree(EVERY)]
    assert drawn == ["a", "b", "|- d", "|  `- g", "|- e", "`- f", "c", "bad"]
    # What is not in the list is no parent.
    assert [f"{lines}{each.name}" for lines, each in history.tree((A, D, G))] == ["a", "d", "`- g"]


def test_records_without_a_history() -> None:
    source = described()
    record = Record.of(source)
    assert record.parent is None and record.run == ""
