"""Time-outs of calls that a save interrupts:
never shorter than what remained, and no more than the original longer.
"""

from __future__ import annotations

import subprocess

import pytest
from support import oracle
from support.checkpoint import Saved, Way, Workshop, pairwise, passed
from support.processes import Running, threads_of, wait_until

CASES = """
    nanosleep clock_nanosleep clock_nanosleep_absolute poll ppoll select pselect futex
    futex_absolute cond_clockwait sem_clockwait mutex_clocklock sigtimedwait epoll_wait epoll_pwait2
    semtimedop recv read send write
""".split()


def test_the_list_is_complete(workshop: Workshop) -> None:
    listed = subprocess.run(
        [workshop.program("proc_timeouts"), "--list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == CASES


def _saved_in_time(workshop: Workshop, name: str, way: Way) -> tuple[Running, list[int], Saved]:
    """On a busy machine the time may be over before the save; then there is more of it."""
    for wait_ms in (1000, 5000, 25000):
        original = workshop.start_program(
            "proc_timeouts", name, way=way, environment={"CKPT_TEST_WAIT_MS": str(wait_ms)}
        )
        wait_until(
            lambda running=original: (  # type: ignore[misc]
                running.poll() is not None or oracle.all_asleep(running.pid)
            ),
            "it waits",
        )
        tids = threads_of(original.pid)
        saved = workshop.try_save(original.pid)
        if saved.result.status == 0:
            return original, tids, saved
        assert (
            "it has ended" in saved.result.errors
            or "no such process" in saved.result.errors.lower()
        ), saved.result
        passed(original.finish(), original.nonce)
    raise AssertionError("the machine is too busy")


@pytest.mark.parametrize("way", pairwise(), ids=str)
@pytest.mark.parametrize("name", CASES)
def test_timeouts(workshop: Workshop, name: str, way: Way) -> None:
    original, tids, saved = _saved_in_time(workshop, name, way)
    if name == "semtimedop":
        # The set of semaphores is the system's: who ends first removes it.
        original.kill()
        passed(workshop.restart(saved.image).finish(), original.nonce)
        return
    passed(original.finish(), original.nonce)
    if name in ("send", "write"):
        return  # the buffer of the new socket may have room for one more
    restart = workshop.restart_as(way.ids, tids, saved.image)
    passed(restart.finish(), original.nonce)
