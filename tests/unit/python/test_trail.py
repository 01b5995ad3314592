"""When `ckpt auto` saves, and what of its trail is deleted."""

from __future__ import annotations

import pytest
from gdbext.debugger.trail import Kept, Schedule, changed, surplus
from gdbext.errors import UsageError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", Schedule(every_stops=3)),
        ("off", Schedule()),
        ("on-signal", Schedule(every_stops=3, on_signal=True)),
        ("every 5", Schedule(every_s=5.0, every_stops=3)),
        ("every 0.5", Schedule(every_s=0.5, every_stops=3)),
        ("every 250ms", Schedule(every_s=0.25, every_stops=3)),
        ("every 2m", Schedule(every_s=120.0, every_stops=3)),
        ("every 1h", Schedule(every_s=3600.0, every_stops=3)),
        ("every 7 stops", Schedule(every_stops=7)),
        ("every 1 stop", Schedule(every_stops=1)),
    ],
)
def test_a_change_of_the_schedule(words: str, expected: Schedule) -> None:
    assert changed(Schedule(every_stops=3), words.split()) == expected


@pytest.mark.parametrize(
    "words",
    [
        "every", "every x", "every -1", "every 0", "every 0.01", "every 1e3", "every 0 stops",
        "every 1.5 stops", "every 5 days", "on", "off now", "on-signal SIGSEGV", "sometimes",
        "every 5 stops now",
    ],
)  # fmt: skip
def test_what_is_no_schedule(words: str) -> None:
    with pytest.raises(UsageError):
        changed(Schedule(), words.split())


def test_a_schedule_in_words() -> None:
    assert (
        Schedule(2.5, 1, True).describe()
        == "every 2.5 s while the program runs, every stop, at fatal signals"
    )
    assert Schedule(every_stops=4).describe() == "every 4 stops"
    assert not Schedule().active and Schedule(on_signal=True).active


def trail(*sizes: int) -> list[Kept]:
    """A trail of snapshots of these sizes, oldest first."""
    return [Kept(f"p-auto-{number}", float(number), size) for number, size in enumerate(sizes, 1)]


@pytest.mark.parametrize(
    ("sizes", "keep", "limit", "deleted"),
    [
        ((), 3, None, 0),
        ((1, 1, 1), 3, None, 0),
        ((1, 1, 1, 1, 1), 3, None, 2),
        ((10, 10, 10), 20, 30, 0),
        ((10, 10, 10), 20, 29, 1),
        ((10, 10, 10), 20, 1, 2),
        ((10, 10, 10), 20, 0, 2),
        ((50, 1, 1, 1), 3, 2, 2),
        ((99,), 1, 5, 0),
    ],
)
def test_what_is_too_many_or_too_much(
    sizes: tuple[int, ...], keep: int, limit: int | None, deleted: int
) -> None:
    kept = trail(*sizes)
    assert surplus(kept, keep, limit) == kept[:deleted]
