"""Ctrl-C while GDB runs functions of the package:
the native module's part, in a Python without GDB.
"""

from __future__ import annotations

import _thread
import operator
import signal
import threading
from typing import Any, Iterator

import pytest
from gdbext import native


@pytest.fixture(name="core")
def core_fixture() -> Iterator[Any]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield native.core
    signal.signal(signal.SIGINT, before)


def press() -> None:
    """Ctrl-C. Not for the process: in GDB no other thread takes signals,
    in a worker of pytest's one may.
    """
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_it_waits_until_the_section_is_left(core: Any) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with core.InterruptsHeld():
            press()
            done.append("inside")
        for _ in range(1000):
            done.append("too far")
    assert done[0] == "inside" and len(done) < 1000
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_one_that_is_taken_is_over(core: Any) -> None:
    with core.InterruptsHeld():
        assert not core.take_interrupt()
        press()
        press()
        assert core.take_interrupt()
        assert not core.take_interrupt()


def test_one_section_within_another(core: Any) -> None:
    with core.InterruptsHeld():
        with core.InterruptsHeld():
            press()
        assert core.take_interrupt()


def test_none_is_taken_where_none_has_to_wait(core: Any) -> None:
    assert not core.take_interrupt()
    with pytest.raises(KeyboardInterrupt):
        press()


def test_the_section_is_left_by_an_exception(core: Any) -> None:
    with pytest.raises(ValueError):
        with core.InterruptsHeld():
            raise ValueError
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_function_is_not_interrupted(core: Any) -> None:
    done = []

    def work(first: int, second: int) -> int:
        press()
        done.append(core.take_interrupt())
        return first + second

    assert core.uninterrupted(work)(3, 4) == 7
    assert done == [True]


@pytest.mark.parametrize("take", [True, False])
def test_what_came_before_a_function_waits_as_well(core: Any, take: bool) -> None:
    done = []

    def work() -> None:
        done.append(take and core.take_interrupt())

    # Python has no chance to raise it between the two calls.
    both = map(operator.call, [_thread.interrupt_main, core.uninterrupted(work)])
    if take:
        assert list(both) == [None, None]
    else:
        with pytest.raises(KeyboardInterrupt):
            list(both)
    assert done == [take]
