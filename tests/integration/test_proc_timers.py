"""Timers: each comes back with the time that remained, and its signal once."""

from __future__ import annotations

import re
import subprocess

import pytest
from support.checkpoint import Way, Workshop, pairwise, passed, restored_pid, round_trip

CASES = """
    itimer_real itimer_virtual itimer_prof alarm no_timer itimer_fires itimer_repeats
    itimer_cpu_fires itimer_expired itimer_expired_repeats itimer_expired_and_set clocks ids many
    disarmed signal default_event none thread_id thread_gone sigev_thread cpu_of_other cpu expired
    absolute past expired_repeats expired_and_set order overrun timerfd
""".split()
# What the report names of these, and nothing of the others.
NAMED = {
    "expired_repeats": r"note: timer 0: POSIX timer: .*overruns",
    "overrun": r"changed: timer 0: POSIX timer: timer_getoverrun\(\) says 0 instead of \d+ ",
}
# By default a timer's memory of which thread made it is not the kernel's to tell.
NAMED_WITH_THREADS = {**NAMED, "clocks": r"changed: timer 5: POSIX timer: .*main thread"}


def test_the_list_is_complete(workshop: Workshop) -> None:
    listed = subprocess.run(
        [workshop.program("proc_timers"), "--list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == CASES


@pytest.mark.parametrize("way", pairwise(), ids=str)
@pytest.mark.parametrize("name", CASES)
def test_timers(workshop: Workshop, name: str, way: Way) -> None:
    # What is timed, or runs, cannot be compared from outside.
    timed = name in ("signal", "timerfd", "default_event", "thread_id", "sigev_thread", "overrun")
    timed = timed or "fires" in name or "repeats" in name
    # A timer for a thread that has ended notifies nobody, and comes back so.
    ignore = {"timers"} if name == "thread_gone" else set()
    saved = round_trip(
        workshop, "proc_timers", name, way=way, watch=not timed, ignore=ignore, restores=3
    )
    found = [line for line in saved.fidelity if "timer" in line]
    named = NAMED if way.threads == 1 else NAMED_WITH_THREADS
    if name in named:
        # Its next signal may be queued by the time of the save, which then is named as well.
        assert re.match(named[name], found[0]), saved.result.output
        assert all(
            re.match(named[name], line) or "overruns" in line for line in found
        ), saved.result.output
    else:
        assert not found, saved.result.output


def test_generations(workshop: Workshop) -> None:
    """Saved, restored, saved again: the ids of timers and of their
    threads are renewed each time.
    """
    running = workshop.start_program("proc_timers", "thread_id")
    nonce = running.nonce
    ancestors = [running]
    pid = running.pid
    for _ in range(2):
        saved = workshop.save(pid)
        restart = workshop.restart(saved.image, "--ids", "virtual")
        pid = restored_pid(restart)
        ancestors.append(restart)
    for running in ancestors:
        running.send()
        passed(running.finish(), nonce)
