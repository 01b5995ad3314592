"""A thread sleeps in a blocking call while it is saved:
no EINTR, short count or short sleep, neither then nor later.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import Saved, Way, Workshop, pairwise, passed, restored_pid
from support.processes import Running, describe, state_of, system_call_of, threads_of, wait_until

WAYS = [pytest.param(way, id=str(way)) for way in pairwise(threads=(1, 4))]

# In the order of blocked.c; kept here so that pytest can name the tests without a build, and
# compared with the program's own list below.
INSIDE = """
    nanosleep clock_nanosleep clock_nanosleep_monotonic clock_nanosleep_realtime poll_stdin
    poll_expires select_stdin select_expires ppoll_mask pselect_mask pause sigsuspend sigwait
    sigwaitinfo sigtimedwait mutex mutex_timedlock mutex_pi rwlock cond cond_timedwait cond_expires
    sem sem_timedwait sem_expires barrier join futex futex_timeout futex_expires futex_shared
""".split()
PIPE = "read_pipe readv_pipe write_full_pipe poll poll_timeout ppoll_expires select".split()
OTHER = """
    recv recv_timeout accept epoll_wait epoll_wait_timeout eventfd timerfd signalfd waitpid waitid
    msgrcv semop flock inotify
""".split()
BY_TIME = {
    "nanosleep",
    "clock_nanosleep",
    "clock_nanosleep_monotonic",
    "clock_nanosleep_realtime",
    "timerfd",
}


def _ends_by_itself(name: str) -> bool:
    return name in BY_TIME or name.endswith("_expires")


def test_the_lists_are_complete(workshop: Workshop) -> None:
    listed = subprocess.run(
        [workshop.program("blocked"), "--list"], capture_output=True, text=True, check=True
    ).stdout
    cases = [line.split() for line in listed.splitlines()]
    for kind, names in (("inside", INSIDE), ("pipe", PIPE), ("other", OTHER)):
        assert [name for name, _, needs in cases if needs == kind] == names
    assert {name for name, by, _ in cases if by == "time"} == {
        n for n in INSIDE + PIPE + OTHER if _ends_by_itself(n)
    }


# For calls that end by themselves, in ms: on a slow machine they may be over before they are saved.
PATIENCE_MS = (600, 3000, 15000)


def _start_blocked(
    workshop: Workshop, name: str, way: Way, short_ms: int = PATIENCE_MS[0]
) -> Running:
    """The program, its main thread asleep in the call, or ended."""
    running = workshop.start_program(
        "blocked", name, way=way, environment={"CKPT_TEST_SHORT_MS": str(short_ms)}
    )

    def blocked() -> bool:
        call = system_call_of(running.pid, running.pid)
        printing = call is not None and call[0] == 1 and call[1][0] == 1
        return (
            call is not None and call[0] != -1 and not printing and oracle.all_asleep(running.pid)
        )

    wait_until(
        lambda: blocked() or _is_over(running),
        lambda: f"{running} sleeps in its call\n{describe(running.pid)}",
    )
    return running


def _is_over(running: Running) -> bool:
    return state_of(running.pid) in ("Z", "")


def _saved_blocked(
    workshop: Workshop,
    name: str,
    way: Way,
    before: Callable[[Running], object] = lambda running: None,
) -> tuple[Running, list[int], Saved]:
    """The program, its threads, and a snapshot of it asleep in the call.
    `before`: what is done to it before the save.
    """
    for short_ms in PATIENCE_MS:
        running = _start_blocked(workshop, name, way, short_ms)
        try:
            tids = threads_of(running.pid)
            before(running)
            return running, tids, workshop.save(running.pid)
        except (AssertionError, OSError, subprocess.CalledProcessError):
            # Its time was over, and all was well with it: then once more, with more time.
            if short_ms == PATIENCE_MS[-1] or not _ends_by_itself(name) or not _is_over(running):
                raise
            passed(running.finish(), running.nonce)
    raise AssertionError("unreachable")


def _goes_on(running: Running, name: str, nonce: str) -> None:
    if not _ends_by_itself(name):
        running.send()
    result = running.finish()
    passed(result, nonce)
    assert not result.errors, f"{result}"


@pytest.mark.parametrize("name", INSIDE + PIPE + OTHER)
def test_save(workshop: Workshop, name: str) -> None:
    """The saved program goes on as if nothing had happened;
    twice over, since a restarted call may be restarted again.
    """
    running, _, _ = _saved_blocked(
        workshop, name, Way(), before=lambda running: workshop.save(running.pid)
    )
    _goes_on(running, name, running.nonce)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", INSIDE + PIPE)
def test_restore(workshop: Workshop, name: str, way: Way) -> None:
    running, tids, saved = _saved_blocked(workshop, name, way)
    _goes_on(running, name, running.nonce)
    for _ in range(2):
        restart = workshop.restart_as(way.ids, tids, saved.image)
        _goes_on(restart, name, running.nonce)


@pytest.mark.thorough
@pytest.mark.parametrize("name", [n for n in INSIDE + PIPE if not _ends_by_itself(n)])
def test_restore_of_a_restored_program(workshop: Workshop, name: str) -> None:
    """What sleeps after a restore is saved and restored again."""
    running = _start_blocked(workshop, name, Way())
    before = oracle.look(running.pid)
    saved = workshop.save(running.pid)
    restart = workshop.restart(saved.image)
    pid = restored_pid(restart, before)
    again = workshop.save(pid)
    _goes_on(running, name, running.nonce)
    _goes_on(restart, name, running.nonce)
    _goes_on(workshop.restart(again.image), name, running.nonce)


# A debugger's stop alone makes these fail with EINTR (signal(7)):
# the program has seen it before the save.
INTERRUPTED_BY_A_STOP = {"sigwaitinfo", "sigtimedwait"}


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", [name for name in INSIDE + PIPE if name not in INTERRUPTED_BY_A_STOP]
)
def test_restore_after_an_earlier_stop(workshop: Workshop, name: str) -> None:
    """A debugger had stopped the program before,
    so that calls with a time-out go on as restart_syscall.
    """

    def stopped_twice(running: Running) -> None:
        for _ in range(2):
            subprocess.run(
                [workshop.register_dump, str(running.pid)], check=True, capture_output=True
            )
            wait_until(lambda: oracle.all_asleep(running.pid) or _is_over(running), "it sleeps")

    running, _, saved = _saved_blocked(workshop, name, Way(), before=stopped_twice)
    _goes_on(running, name, running.nonce)
    _goes_on(workshop.restart(saved.image), name, running.nonce)


def test_images_are_left_alone(workshop: Workshop) -> None:
    """A restore reads the image and nothing else: not a byte of it changes."""
    running = _start_blocked(workshop, "pause", Way())
    saved = workshop.save(running.pid)
    _goes_on(running, "pause", running.nonce)
    content, status = saved.image.read_bytes(), saved.image.stat()
    files = _tree(workshop.store)
    _goes_on(workshop.restart(saved.image), "pause", running.nonce)
    assert (
        saved.image.read_bytes() == content and saved.image.stat().st_mtime_ns == status.st_mtime_ns
    )
    assert _tree(workshop.store) == files


def _tree(directory: Path) -> dict[str, int]:
    return {
        str(path.relative_to(directory)): path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file() and "index" not in path.parts
    }
