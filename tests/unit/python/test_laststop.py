"""What is remembered of a stop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gdbext.debugger import laststop


def breakpoint(number: int, hit_count: int, type: int = 1) -> Any:
    return SimpleNamespace(number=number, hit_count=hit_count, type=type)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laststop, "told", None)
    monkeypatch.setattr(laststop, "_hits", {})


def tell(**attributes: Any) -> laststop.Told:
    laststop._on_stop(SimpleNamespace(**attributes))
    assert laststop.told is not None
    return laststop.told


def test_a_breakpoint_whose_condition_does_not_hold_was_not_hit() -> None:
    assert tell(breakpoints=[breakpoint(1, 1)]).points == ((1, 1),)
    assert tell(breakpoints=[breakpoint(1, 1), breakpoint(3, 1, 6)]).points == ((3, 6),)
    # Without counts that tell, all of them.
    assert tell(breakpoints=[breakpoint(1, 1), breakpoint(3, 1)]).points == ((1, 1), (3, 1))


def test_the_breakpoint_that_gdb_names_comes_first() -> None:
    told = tell(
        breakpoints=[breakpoint(1, 1), breakpoint(2, 1)],
        details={"reason": "breakpoint-hit", "bkptno": 2},
    )
    assert told == laststop.Told("breakpoint-hit", "", ((2, 1), (1, 1)))


def test_other_stops() -> None:
    assert tell(stop_signal="SIGSEGV") == laststop.Told("", "SIGSEGV", ())
    assert tell(details={"reason": "end-stepping-range"}) == laststop.Told(
        "end-stepping-range", "", ()
    )
