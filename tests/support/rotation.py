"""A pytest plugin: the ways of the matrix are taken in turn over the subjects, in full on demand.

A test says in which ways it can run by parameters named as below; what else it is parametrized with
is its subject. Every subject in every way is hundreds of cases that fail together or not at all. So
of the ways of a subject `--ways` of them are run, the next subject of the file goes on where the
last one ended, and over the file all ways are run. `--ways all` runs the whole cross. Where several
users run the same tests (`--users N`), they share the ways of each subject.

Which ways are run depends on the file alone, and not on what else is run or on chance: a failure is
found again.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Hashable
from typing import Any

import pytest

WAY_PARAMETERS = ("way", "variant", "ids")
ALL = "all"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--ways",
        default="2",
        metavar="N|all",
        help="in how many ways of the matrix each subject is tested (default: 2)",
    )
    parser.addoption(
        "--users",
        default=1,
        type=int,
        metavar="N",
        help="how many users run these tests and share the ways (default: 1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "ways(N): a subject that touches everything: N ways at least, unless one is asked for",
    )
    choice = config.getoption("ways")
    if choice != ALL and not (choice.isdecimal() and int(choice)):
        raise pytest.UsageError(f"--ways: {choice!r} is neither a number nor {ALL!r}")


def _split(item: pytest.Item) -> tuple[Hashable, Hashable] | None:
    """The subject of a test and its way, or None for a test that has no ways."""
    parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    way = tuple(str(parameters[name]) for name in WAY_PARAMETERS if name in parameters)
    if not way:
        return None
    rest = tuple(
        (name, str(value)) for name, value in parameters.items() if name not in WAY_PARAMETERS
    )
    return (item.location[0], item.location[2].partition("[")[0], rest), way


def _taken(count: int, wanted: int, turn: int) -> set[int]:
    """`wanted` of `count` ways, far from each other, since neighbours differ in one thing only."""
    step = next(
        step for step in range(count // wanted + 1, 2 * count) if math.gcd(step, count) == 1
    )
    return {(turn + i * step) % count for i in range(wanted)}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    choice, users = config.getoption("ways"), config.getoption("users")
    if choice == ALL:
        return
    subjects: dict[Hashable, list[pytest.Item]] = defaultdict(list)
    ways: dict[Hashable, list[Hashable]] = defaultdict(list)
    for item in items:
        if split := _split(item):
            subjects[split[0]].append(item)
            ways[split[0]].append(split[1])
    # Root and an ordinary user begin at different places.
    turns: dict[Hashable, int] = defaultdict(lambda: int(os.getuid() != 0))
    dropped: set[pytest.Item] = set()
    for subject, cases in subjects.items():
        marker = cases[0].get_closest_marker("ways")
        wanted = int(choice)
        if marker and wanted > 1:
            wanted = max(wanted, int(marker.args[0]))
        wanted = math.ceil(wanted / users)
        if len(cases) <= wanted:
            continue
        turn = (cases[0].location[0], *ways[subject])
        taken = _taken(len(cases), wanted, turns[turn])
        turns[turn] += 1
        dropped |= {case for i, case in enumerate(cases) if i not in taken}
    if dropped:
        config.hook.pytest_deselected(items=[item for item in items if item in dropped])
        items[:] = [item for item in items if item not in dropped]
