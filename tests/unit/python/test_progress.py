"""Progress: silent at first and off a terminal, in place on one, and Ctrl-C stops the work."""

from __future__ import annotations

import os
from typing import Iterator, List, Tuple

import pytest
from gdbext.text.progress import Progress


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def terminal() -> Iterator[Tuple[int, int]]:
    master, slave = os.openpty()
    os.set_blocking(master, False)
    yield master, slave
    os.close(master)
    os.close(slave)


def written(master: int) -> str:
    try:
        return os.read(master, 4096).decode()
    except BlockingIOError:
        return ""


def test_short_work_is_silent(terminal: Tuple[int, int]) -> None:
    master, slave = terminal
    clock = Clock()
    with Progress("Saving", slave, clock) as progress:
        for _ in range(4):
            clock.now_s += 0.1
            assert progress(1, 10)
    assert written(master) == ""


def test_long_work_shows_bytes_and_rate_and_wipes_them(terminal: Tuple[int, int]) -> None:
    master, slave = terminal
    clock = Clock()
    with Progress("Saving", slave, clock) as progress:
        clock.now_s += 2
        assert progress(64 << 20, 256 << 20)
        assert "Saving: 64.0 MiB of 256.0 MiB (25%), 32.0 MiB/s" in written(master)
        # Not more often than anyone can read.
        assert progress(65 << 20, 256 << 20)
        assert written(master) == ""
        clock.now_s += 1
        assert progress(90 << 20, 0)
        assert "Saving: 90.0 MiB, 30.0 MiB/s" in written(master)
    assert written(master) == "\r\x1b[K"


def test_nothing_is_written_to_what_is_no_terminal() -> None:
    read, write = os.pipe()
    clock = Clock()
    with Progress("Saving", write, clock) as progress:
        clock.now_s += 10
        assert progress(1, 2)
    os.close(write)
    assert os.read(read, 100) == b""
    os.close(read)


def test_a_closed_descriptor_is_no_terminal() -> None:
    read, write = os.pipe()
    os.close(read)
    os.close(write)
    assert Progress("Saving", write)(1, 2)


def test_ctrl_c_cancels_once_and_for_all(terminal: Tuple[int, int]) -> None:
    _, slave = terminal
    calls: List[float] = []

    def interrupted() -> float:
        calls.append(0.0)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 0.0

    progress = Progress("Saving", slave, interrupted)
    assert not progress(1, 2)
    assert progress.interrupted
    assert not progress(2, 2)


def test_a_terminal_that_goes_away_is_left_alone() -> None:
    master, slave = os.openpty()
    clock = Clock()
    progress = Progress("Saving", slave, clock)
    os.close(master)
    clock.now_s += 1
    assert progress(1, 2)
    assert progress(1, 2)
    os.close(slave)


def test_it_can_be_cancelled_from_elsewhere() -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) == 2

    progress = Progress("Saving", cancelled=cancelled)
    assert progress(1, 3)
    assert not progress(2, 3)
    assert progress.interrupted
    assert not progress(3, 3)
