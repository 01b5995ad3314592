"""The ways of the matrix in turn over the subjects (support/rotation.py)."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

SUPPORT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest

@pytest.mark.parametrize("way", range(6))
@pytest.mark.parametrize("subject", "abcdefgh")
def test_each(subject, way): pass

@pytest.mark.ways(4)
@pytest.mark.parametrize("way", range(6))
def test_everything(way): pass

@pytest.mark.parametrize("number", range(5))
def test_without_ways(number): pass
"""


Cases = list[tuple[str, str]]


@pytest.fixture
def collect(tmp_path: Path) -> Callable[..., Cases]:
    """What pytest would run with these options: names and parameters.
    AssertionError with what it says when it refuses.
    """
    (tmp_path / "test_it.py").write_text(TESTS)
    environment = {"PYTHONPATH": str(SUPPORT), "PYTHONDONTWRITEBYTECODE": "1"}

    def collect(*options: str) -> Cases:
        command = [
            "/usr/bin/python3", "-m", "pytest", "-q", "--collect-only", "-p", "support.rotation",
            *options,
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        names = [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]
        return [(name.partition("[")[0], name.partition("[")[2].rstrip("]")) for name in names]

    return collect


def _ways_of(tests: Cases, name: str) -> list[list[str]]:
    return [case.split("-") for test, case in tests if test == name]


def test_two_of_each_and_all_over_all(collect: Callable[..., Cases]) -> None:
    tests = collect()
    each = _ways_of(tests, "test_each")
    assert Counter(subject for subject, _ in each) == dict.fromkeys("abcdefgh", 2)
    assert {way for _, way in each} == set("012345")
    assert len(_ways_of(tests, "test_everything")) == 4
    assert len(_ways_of(tests, "test_without_ways")) == 5
    assert collect() == tests  # chance has no say


def test_one_and_all(collect: Callable[..., Cases]) -> None:
    one = collect("--ways", "1")
    assert len(_ways_of(one, "test_each")) == 8 and len(_ways_of(one, "test_everything")) == 1
    every = collect("--ways", "all")
    assert len(_ways_of(every, "test_each")) == 48 and len(_ways_of(every, "test_everything")) == 6


def test_two_users_share(collect: Callable[..., Cases]) -> None:
    share = collect("--users", "2")
    each = _ways_of(share, "test_each")
    assert Counter(subject for subject, _ in each) == dict.fromkeys("abcdefgh", 1)
    assert {way for _, way in each} == set("012345")
    assert len(_ways_of(share, "test_everything")) == 2
    assert len(_ways_of(share, "test_without_ways")) == 5
    assert collect("--users", "2", "--ways", "all") == collect("--ways", "all")


def test_a_case_that_is_asked_for_is_run(collect: Callable[..., Cases]) -> None:
    for way in range(6):
        assert collect(f"test_it.py::test_each[a-{way}]") == [("test_each", f"a-{way}")]


@pytest.mark.parametrize("value", ["0", "-1", "x", ""])
def test_what_is_no_number_of_ways(collect: Callable[..., Cases], value: str) -> None:
    with pytest.raises(AssertionError, match="neither a number nor 'all'"):
        collect(f"--ways={value}")
