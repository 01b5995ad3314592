"""`ckpt find`: where in a row of snapshots a condition begins, or ceases, to be true."""

from __future__ import annotations

from typing import Callable, Dict, NamedTuple, Optional


class Found(NamedTuple):
    """`at` is the snapshot that was looked for, None when it is not true at an end of the row;
    `beside` the nearest one in which it is not true, None when there is none before (behind).
    Between the two are `silent` ones, in which the condition has no value; without `at` those are
    counted of all that were looked at. `asked` is how many were looked at.
    """

    at: Optional[int]
    beside: Optional[int]
    silent: int
    asked: int


def find(count: int, ask: Callable[[int], Optional[bool]], last: bool) -> Found:
    """Find the first of `count` snapshots, in their order, in which a condition is true, or with
    `last` the last one. `ask` tells whether it is in one of them; None when it has no value there.

    Halves the row, and so counts on one change: from false to true, or with `last` from true to
    false. Where there are more changes, it finds one of them, or none if both ends are false.
    """
    answers: Dict[int, Optional[bool]] = {}

    def answer(index: int) -> Optional[bool]:
        # Counted from the end for the last one, the row changes from false to true as well.
        if index not in answers:
            answers[index] = ask(count - 1 - index if last else index)
        return answers[index]

    def nearest(low: int, high: int, step: int) -> Optional[int]:
        """The first one with a value, from `low` or `high` on, between the two."""
        row = range(low, high + 1) if step > 0 else range(high, low - 1, -1)
        return next((index for index in row if answer(index) is not None), None)

    def found(index: Optional[int], beside: Optional[int]) -> Found:
        low = -1 if beside is None else beside
        silent = sum(
            value is None for each, value in answers.items() if index is None or low < each < index
        )
        place = [
            None if each is None else count - 1 - each if last else each for each in (index, beside)
        ]
        return Found(place[0], place[1], silent, len(answers))

    low = nearest(0, count - 1, 1)
    if low is None or answer(low):
        return found(low, None)
    high = nearest(low, count - 1, -1)
    assert high is not None
    if not answer(high):
        return found(None, None)
    while True:
        middle = (low + high) // 2
        probe = None
        if low < middle < high:
            probe = nearest(low + 1, middle, -1)
            if probe is None:
                probe = nearest(middle + 1, high - 1, 1)
        if probe is None:
            return found(high, low)
        if answer(probe):
            high = probe
        else:
            low = probe
