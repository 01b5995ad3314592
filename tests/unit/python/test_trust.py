"""Whose words a session is, and what of a stranger's is left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gdbext.debugger import sessions, trust
from gdbext.debugger.debugstate import Breakpoint, DebugState, Display, Signal, SymbolFile
from gdbext.records import Record
from gdbext.store.store import Store
from support.records import described


@pytest.mark.parametrize(
    ("spec", "plain"),
    [
        ("main", True),
        ("jobs.c:32", True),
        ("/home/visitor/some where/jobs.c:32", True),
        ("*0x401136", True),
        ("ns::Klass<int>::method(int, char const*)", True),
        ("-function main -line 3", True),
        ("-source jobs.c -line 32", True),
        ("std::thread::join", True),
        ("core::iter::Iterator::next", True),
        ("syscall 1", True),
        ("signal SIGUSR1", True),
        ("main if $_shell(\"date\")", False),
        ("main if(evil())", False),
        ("'main'if 1", False),
        ("throw if evil()", False),
        ("main thread $_shell(\"date\")", False),
        ("*evil()", False),
        ("*$_shell(\"date\")", False),
        ("  *main + evil()", False),
        ("$line", False),
        ("-force-condition main", False),
        ("-probe x", False),
        ("-function main -line 3 -force", False),
        ("main -force-condition if 1", False),
    ],
)  # fmt: skip
def test_places(spec: str, plain: bool) -> None:
    assert trust.is_plain_place(spec) == plain


def _state() -> DebugState:
    return DebugState(
        args="a b",
        symbol_file="/tmp/symbols",
        directories="/src",
        substitutions=(("/a", "/b"),),
        breakpoints=(
            Breakpoint(1, "break", "main"),
            Breakpoint(2, "tbreak", "work", condition='$_shell("date")', ignore_count=3),
            Breakpoint(3, "break", "work", commands="silent\nshell date\n"),
            Breakpoint(4, "watch", "evil()"),
            Breakpoint(5, "dprintf", 'main,"%d",evil()'),
            Breakpoint(6, "catch", "syscall write"),
            Breakpoint(7, "hbreak", "*evil()"),
            Breakpoint(8, "catch", "throw if evil()"),
        ),
        displays=(Display(True, "/x", "evil()"), Display(False, "", "total")),
        symbol_files=(SymbolFile("/tmp/more", ((".text", 1),)),),
        signals=(Signal("SIGUSR1", False, False, True),),
        language="c",
    )


def test_what_is_kept() -> None:
    before = _state()
    kept, _ = trust.without_code(before)
    assert kept.breakpoints == (
        Breakpoint(1, "break", "main"),
        Breakpoint(2, "tbreak", "work", ignore_count=3),
        Breakpoint(3, "break", "work"),
        Breakpoint(6, "catch", "syscall write"),
    )
    assert not kept.displays and not kept.symbol_files and not kept.symbol_file
    for name in ("args", "directories", "substitutions", "signals", "language"):
        assert getattr(kept, name) == getattr(before, name)


def test_what_is_told() -> None:
    _, left = trust.without_code(_state())
    assert list(trust.left_out_lines(left, "-trust takes it")) == [
        (
            "the session was not saved here: "
            "what GDB would evaluate or run of it is left out (-trust takes it)"
        ),
        (
            'left out: 4 breakpoints: 4 (watch evil()); 5 (dprintf main,"%d",evil()); '
            "7 (hbreak *evil()); and 1 more"
        ),
        'left out: 1 breakpoint\'s condition: 2 (tbreak work): $_shell("date")',
        "left out: 1 breakpoint's commands: 3 (break work): silent; shell date",
        "left out: 2 displays: evil(); total",
        "left out: 2 symbol files: /tmp/symbols; /tmp/more",
    ]
    assert not list(
        trust.left_out_lines(
            trust.without_code(DebugState(breakpoints=_state().breakpoints[:1]))[1], ""
        )
    )


def test_long_texts_are_cut() -> None:
    state = DebugState(displays=tuple(Display(True, "", "x" * 1000) for _ in range(1000)))
    lines = list(trust.left_out_lines(trust.without_code(state)[1], "-trust"))
    assert (
        len(lines) == 2
        and all(len(line) < 300 for line in lines)
        and lines[1].endswith("and 997 more")
    )


# -- who has saved it ------------------------------------------------------------------------------


def _record(session: dict[str, Any], objects: list[dict[str, Any]] | None = None) -> Record:
    return Record.of(described(name="one", session=session, objects=objects or []))


class Place:
    """A store whose snapshots have the sessions that the test says."""

    def __init__(self, root: Path) -> None:
        self.records: dict[str, Record] = {}
        self.store = Store(root, lambda path: self.records[path.stem])
        self.store.create()

    def put(self, name: str, session: dict[str, Any]) -> Path:
        path = self.store.path_of(name)
        path.touch()
        self.records[name] = _record(session)
        return path

    def is_own(self, name: str) -> bool:
        return self.store.is_own_session(self.store.path_of(name), self.records[name])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "store")


SESSION: dict[str, Any] = {**_state().table(), "args": "odd \udcff"}


def test_a_session_is_known_by_all_of_it(place: Place) -> None:
    place.put("one", SESSION)
    assert not place.is_own("one")
    place.store.marks.note_session(SESSION)
    assert place.is_own("one")
    place.put("two", {**SESSION, "args": "odd"})
    assert not place.is_own("two")
    # As the image gives it back: lists for tuples, in another order.
    place.put("three", dict(reversed(SESSION.items())))
    assert place.is_own("three")


def test_no_session_is_nobodys(place: Place) -> None:
    place.put("one", {})
    assert place.is_own("one")


def test_an_imported_one_is_a_strangers_whatever_it_says(place: Place) -> None:
    path = place.put("one", SESSION)
    place.store.marks.note_session(SESSION)
    place.store.marks.note_imported("one")
    place.store.register("one", path, own=False)
    assert not place.is_own("one")
    # Under another name, too, and until it is saved anew.
    entry = place.store.find("one")
    assert entry is not None
    place.records["two"] = place.records["one"]
    place.store.move(entry, "two")
    assert not place.is_own("two")
    place.store.register("two", place.store.path_of("two"))
    assert place.is_own("two")


def test_a_file_of_another_owner_is_a_strangers(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place.put("one", SESSION)
    place.store.marks.note_session(SESSION)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert not place.is_own("one")


def test_a_collection_forgets_what_no_snapshot_has(place: Place) -> None:
    place.put("one", SESSION)
    other = {**SESSION, "args": "other"}
    for session in (SESSION, other):
        place.store.marks.note_session(session)
    for name in ("one", "gone"):
        place.store.marks.note_imported(name)
    assert not place.store.collect().kept_because
    assert place.store.marks.knows_session(SESSION) and not place.store.marks.knows_session(other)
    assert place.store.marks.is_imported("one") and not place.store.marks.is_imported("gone")


def test_what_a_restore_would_leave_out(place: Place) -> None:
    path = place.put("one", SESSION)
    lines = sessions.left_out_lines(place.store, path, place.records["one"])
    assert len(lines) == 6 and "a restore with -trust takes it" in lines[0]
    place.store.marks.note_session(SESSION)
    assert not sessions.left_out_lines(place.store, path, place.records["one"])
    assert not sessions.left_out_lines(place.store, path, _record({"format": 99}))
