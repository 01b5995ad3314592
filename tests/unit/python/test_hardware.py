"""What is said of watchpoints and breakpoints that need debug registers."""

from __future__ import annotations

import pytest
from gdbext.debugger.debugstate import Breakpoint
from gdbext.debugger.hardware import (
    Dead,
    Point,
    Works,
    at_restore,
    at_save,
    before_restore,
    saved_points,
)

NOTHING_WORKS = Works(False, False)
POINTS = [
    Point(2, "watch"), Point(3, "rwatch"), Point(4, "hbreak"), Point(5, "watch"),
    Point(6, "awatch"), Point(7, "thbreak"),
]  # fmt: skip


@pytest.mark.parametrize(
    "works, dead",
    [
        (Works(), Dead([], [], [])),
        (NOTHING_WORKS, Dead([2, 5], [3, 6], [4, 7])),
        (Works(watchpoints=False), Dead([2, 5], [3, 6], [])),
        (Works(breakpoints=False), Dead([], [], [4, 7])),
    ],
)
def test_which_are_dead(works: Works, dead: Dead) -> None:
    assert Dead.of(POINTS, works) == dead


def test_nothing_is_said_when_all_works() -> None:
    works = Dead.of(POINTS, Works())
    assert at_save(works) is at_restore(works) is before_restore(works) is None
    assert at_save(Dead.of([], NOTHING_WORKS)) is None


@pytest.mark.parametrize(
    "dead, said",
    [
        (
            Dead([2], [], []),
            "hardware watchpoints do not fire on this machine: "
            "watchpoint 2 never stops the program "
            '("set can-use-hw-watchpoints 0", then "enable 2", for a software watchpoint)',
        ),
        (
            Dead([], [], [4]),
            (
                "hardware breakpoints do not fire on this machine: "
                'breakpoint 4 never stops the program (use "break")'
            ),
        ),
        (
            Dead([2, 5, 8], [3], [4]),
            "hardware watchpoints and breakpoints do not fire on this machine: watchpoints 2, "
            "5 and 8 never stop the program "
            '("set can-use-hw-watchpoints 0", then "enable 2 5 8", for software watchpoints); '
            "watchpoint 3 never stops the program (software watchpoints cannot see reads: "
            "delete it); "
            'breakpoint 4 never stops the program (use "break")',
        ),
    ],
)
def test_at_a_save(dead: Dead, said: str) -> None:
    assert at_save(dead) == said


def test_at_a_restore_and_before_one() -> None:
    dead = Dead([2], [3], [4])
    assert at_restore(dead) == (
        "hardware watchpoints and breakpoints do not fire on this machine: "
        "watchpoint 2 is now a software watchpoint (can-use-hw-watchpoints is 0); "
        "watchpoint 3 did not come back, since software watchpoints cannot see reads; "
        'breakpoint 4 never stops the program (use "break")'
    )
    assert before_restore(dead) == (
        "hardware watchpoints and breakpoints do not fire on this machine: "
        "watchpoint 2 will come back as a software watchpoint; "
        "watchpoint 3 will not come back, since software watchpoints cannot see reads; "
        "breakpoint 4 will never stop the program"
    )


def test_what_a_saved_session_needs() -> None:
    saved = [
        Breakpoint(1, "break", "main"),
        Breakpoint(2, "watch", "total"),
        Breakpoint(3, "rwatch", "total", enabled=False),
        Breakpoint(4, "thbreak", "main"),
    ]
    assert saved_points(saved, watchpoints=True) == [Point(2, "watch"), Point(4, "thbreak")]
    assert saved_points(saved, watchpoints=False) == [Point(4, "thbreak")]
