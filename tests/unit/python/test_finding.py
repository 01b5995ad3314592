"""Finding where a condition changes."""

from __future__ import annotations

from typing import List, Optional, Tuple

import pytest
from gdbext.store.finding import Found, find


def answers(text: str) -> List[Optional[bool]]:
    """A row written as "..xx?": false, false, true, true, no value."""
    return [{".": False, "x": True, "?": None}[each] for each in text]


@pytest.mark.parametrize(
    "row, first, last",
    [
        ("..xx", (2, 1), (3, None)),
        ("xx..", (0, None), (1, 2)),
        ("xxxx", (0, None), (3, None)),
        ("....", (None, None), (None, None)),
        (".xx.", (None, None), (None, None)),
        ("x", (0, None), (0, None)),
        (".", (None, None), (None, None)),
        ("", (None, None), (None, None)),
        ("????", (None, None), (None, None)),
        # Where it has no value it is neither; what is found is true.
        (".??x", (3, 0), (3, None)),
        ("?.x?", (2, 1), (2, None)),
        ("?.?.?x?x??", (5, 3), (7, None)),
        ("x???.", (0, None), (0, 4)),
    ],
)
def test_find(
    row: str, first: Tuple[Optional[int], Optional[int]], last: Tuple[Optional[int], Optional[int]]
) -> None:
    values = answers(row)
    for expected, backwards in ((first, False), (last, True)):
        asked: List[int] = []

        def ask(index: int) -> Optional[bool]:
            asked.append(index)
            return values[index]

        found = find(len(values), ask, backwards)
        assert (found.at, found.beside) == expected, (row, backwards)
        assert found.asked == len(asked) == len(set(asked))


def test_few_are_asked() -> None:
    for change in range(1001):
        found = find(1000, lambda index: index >= change, False)
        assert found.at == (change if change < 1000 else None)
        assert found.asked <= 12
        found = find(1000, lambda index: index < change, True)
        assert found.at == (change - 1 if change else None)
        assert found.asked <= 12


def test_of_several_changes_one_is_found() -> None:
    """Whatever the row is like: the one found is true, the one beside it is not."""
    for number in range(3**7):
        values = [(None, False, True)[number // 3**each % 3] for each in range(7)]
        for last in (False, True):
            found = find(7, lambda index: values[index], last)
            if found.at is None:
                ends = [value for value in values if value is not None]
                assert not ends or not (ends[0] or ends[-1])
                continue
            assert values[found.at] is True
            if found.beside is not None:
                assert values[found.beside] is False
                between = range(*sorted((found.at, found.beside)))[1:]
                assert all(values[each] is None for each in between)
                assert found.silent == len(between)
            else:
                beyond = values[found.at + 1 :] if last else values[: found.at]
                assert all(value is None for value in beyond)


def test_silent_ones_are_counted() -> None:
    values = answers("..??x")
    assert find(5, lambda index: values[index], False) == Found(4, 1, 2, 5)
