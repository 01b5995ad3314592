"""A call with an id is under way at the save: it reaches the copy when it is made there, and gives
the ids that are remembered.

A thread is stopped at an instruction of the call (tests/programs/step_to.c). The original stays
stopped beside its copy, which has new ids, and has the old ones: whatever goes to these by mistake
is pending there, or has changed it.
"""

from __future__ import annotations

import os
import platform
import re
import resource
import signal
from collections.abc import Iterator

import pytest
from support.checkpoint import VARIANTS, Saved, Workshop, notes, passed
from support.processes import (
    Result,
    Running,
    children_of,
    describe,
    kill_now,
    read_text,
    state_of,
    system_call_of,
    threads_of,
    wait_until,
)

# In the order of in_flight.c, whose list they are compared with.
CALLS = """
    raise kill kill_group killpg tgkill tgkill_syscall tkill_syscall sigqueue pthread_kill
    pthread_sigqueue getpid gettid getppid getpgrp getpgid getsid getpid_syscall gettid_syscall
    sched_getaffinity sched_setscheduler getpriority setpriority prlimit clock_getcpuclockid
    clock_gettime fcntl_setown fcntl_getown ioctl_setown ioctl_getown timer_create pidfd_open
    waitpid waitid
""".split()
VARIANT = [pytest.param(variant, id=variant.lstrip(".") or "pie") for variant in VARIANTS]


def _start(workshop: Workshop, call: str, variant: str) -> tuple[Running, int]:
    """The program, waiting before its call, and the thread that makes it."""
    running = workshop.start([workshop.program("in_flight", variant), call])
    running.ready()
    (tid,) = set(threads_of(running.pid)) - {running.pid}
    return running, tid


def _step(workshop: Workshop, running: Running, tid: int, steps: int, *more: str) -> Running:
    stepping = workshop.start([workshop.program("step_to"), str(tid), str(steps), *more])
    stepping.ready()
    running.send()
    return stepping


def _instructions(workshop: Workshop, call: str, variant: str) -> str:
    """A letter for each instruction of the call, `s` for a system call."""
    running, tid = _start(workshop, call, variant)
    stepping = _step(workshop, running, tid, -1)
    kinds = stepping.expect("")
    assert "s" in kinds and stepping.finish().status == 0, f"{kinds}"
    return kinds


def _stopped(
    workshop: Workshop, call: str, variant: str, steps: int, *more: str
) -> tuple[Running, int]:
    """The program, stopped so many instructions into its call."""
    running, tid = _start(workshop, call, variant)
    stepping = _step(workshop, running, tid, steps, *more)
    passed(stepping.finish(), stepping.nonce)
    wait_until(
        lambda: state_of(running.pid, tid) == "T",
        lambda: (
            f"{running} is stopped after {steps}\n{describe(running.pid)}\n{running.transcript()}"
        ),
    )
    return running, tid


def _look(tid: int) -> list[object]:
    """What a call that has gone astray would change."""
    status = re.findall(
        r"^(?:SigPnd|ShdPnd):\s+(\w+)", read_text(f"/proc/{tid}/status"), re.MULTILINE
    )
    assert len(status) == 2
    return [
        status,
        os.sched_getaffinity(tid),
        os.sched_getscheduler(tid),
        os.getpriority(os.PRIO_PROCESS, tid),
        resource.prlimit(tid, resource.RLIMIT_CORE),
    ]


@pytest.fixture
def nothing_left() -> Iterator[list[Running]]:
    """The programs that are killed at the end, with what they have started."""
    running: list[Running] = []
    yield running
    for one in running:
        for pid in children_of(one.pid) if one.poll() is None else []:
            kill_now(pid)
        one.kill()


def _becomes_a_decoy(pid: int, tid: int) -> list[list[object]]:
    """Gives the original other attributes than the copy has; what it is like then."""
    os.setpriority(os.PRIO_PROCESS, tid, 15)
    os.sched_setaffinity(tid, {min(os.sched_getaffinity(tid))})
    resource.prlimit(
        pid, resource.RLIMIT_CORE, (4096, resource.prlimit(pid, resource.RLIMIT_CORE)[1])
    )
    return [_look(pid), _look(tid)]


def _restart(workshop: Workshop, saved: Saved) -> Running:
    """A copy in a process group of its own, to which some calls send a signal."""
    return workshop.restart(saved.image, "--ids", "virtual", before_exec=os.setpgrp)


def _is_named(result: Result) -> bool:
    """glibc 2.41 makes the calls of these in a function that it shares with others,
    which stays as it is: then it is said.
    """
    version = [int(part) for part in platform.libc_ver()[1].split(".")]
    named = [
        note
        for note in notes(result)
        if re.search(r"thread \d+ is in wait(4|id)\(\), which could not be changed", note)
    ]
    return (
        version >= [2, 41]
        and len(named) == 1 == len(notes(result))
        and "FAIL wait" in result.output
    )


def _goes_on(restart: Running, original: Running, where: str, line: str = "go") -> None:
    if line:
        restart.send(line)
    result = restart.finish()
    if _is_named(result):
        return
    assert result.output.splitlines()[-1:] == [f"PASS {original.nonce}"], f"{where}\n{result}"
    assert not notes(result), f"{where}\n{result}"


def _waits(restart: Running) -> int:
    """The restored program, when it waits for a line in the handler."""
    found: list[int] = []

    def there() -> bool:
        assert restart.poll() is None, f"{restart.finish()}"
        for pid in children_of(restart.pid):
            calls = [system_call_of(pid, tid) for tid in threads_of(pid)]
            if len(calls) == 2 and [c[0] for c in calls if c and c[0] == 0 and c[1][0] == 0]:
                found[:] = [pid]
        return bool(found)

    wait_until(there, lambda: f"{restart} waits for a line\n{restart.transcript()}")
    return found[0]


def _some(kinds: str, turn: int, everything: bool) -> list[int]:
    """Numbers of steps after which to save."""
    if everything:
        return list(range(len(kinds)))
    calls = [at for at, kind in enumerate(kinds) if kind == "s"]
    at = calls[turn % len(calls)]
    around = [-1, 1, -2, -4, 2, -3, -5, -6][turn % 8]
    return [at, min(max(at + around, 0), len(kinds) - 1)]


def test_the_list_is_complete(workshop: Workshop) -> None:
    listed = workshop.start([workshop.program("in_flight"), "--list"]).finish().output
    assert listed.split() == CALLS


@pytest.mark.parametrize("variant", VARIANT)
@pytest.mark.parametrize("call", CALLS)
def test_at_an_instruction(
    workshop: Workshop,
    call: str,
    variant: str,
    pytestconfig: pytest.Config,
    nothing_left: list[Running],
) -> None:
    kinds = _instructions(workshop, call, variant)
    everything = pytestconfig.getoption("ways") == "all"
    for steps in _some(kinds, CALLS.index(call), everything):
        if call == "clock_gettime" and steps > kinds.rindex("s"):
            continue  # has got the original's time, rightly
        running, tid = _stopped(workshop, call, variant, steps)
        nothing_left.append(running)
        saved = workshop.save(running.pid)
        was = _becomes_a_decoy(running.pid, tid)
        restart = _restart(workshop, saved)
        nothing_left.append(restart)
        where = f"{steps} of {len(kinds)}: {kinds}"
        _goes_on(restart, running, where, "")
        assert [_look(running.pid), _look(tid)] == was, where
        kill_now(running.pid)


@pytest.mark.thorough
@pytest.mark.parametrize("variant", VARIANT)
@pytest.mark.parametrize("call", CALLS)
def test_below_a_handler(
    workshop: Workshop,
    call: str,
    variant: str,
    pytestconfig: pytest.Config,
    nothing_left: list[Running],
) -> None:
    """The handler of a signal that came at that instruction runs at the save;
    its copy is saved and restored once more.
    """
    kinds = _instructions(workshop, call, variant)
    everything = pytestconfig.getoption("ways") == "all"
    turn = CALLS.index(call)
    chosen = _some(kinds, turn, everything)
    for steps in chosen if everything else [chosen[turn % 2]]:
        if call == "clock_gettime" and steps > kinds.rindex("s"):
            continue
        running, tid = _stopped(workshop, call, variant, steps, str(int(signal.SIGUSR2)))
        nothing_left.append(running)
        saved = workshop.save(running.pid)
        was = _becomes_a_decoy(running.pid, tid)
        where = f"{steps} of {len(kinds)}: {kinds}"
        first = _restart(workshop, saved)
        nothing_left.append(first)
        again = workshop.save(_waits(first))
        _goes_on(first, running, where)
        second = _restart(workshop, again)
        nothing_left.append(second)
        _waits(second)
        _goes_on(second, running, where)
        assert [_look(running.pid), _look(tid)] == was, where
        kill_now(running.pid)


# A call whose arguments are changed, one whose answer is,
# one that ends a wait, and those of memory.
IN_A_STUB = ["kill", "getpid", "waitpid", "sigqueue", "timer_create", "getpid_syscall"]


@pytest.mark.parametrize("call", IN_A_STUB)
def test_on_its_way(
    workshop: Workshop, call: str, pytestconfig: pytest.Config, nothing_left: list[Running]
) -> None:
    """The copy is saved anywhere on its way from the handler through what the restore has put
    there, and restored again.
    """
    kinds = _instructions(workshop, call, "")
    at = kinds.rindex("s")
    running, tid = _stopped(workshop, call, "", at, str(int(signal.SIGUSR2)))
    nothing_left.append(running)
    saved = workshop.save(running.pid)
    was = _becomes_a_decoy(running.pid, tid)

    def step(steps: int) -> tuple[Running, Running, int]:
        copy = _restart(workshop, saved)
        nothing_left.append(copy)
        pid = _waits(copy)
        (thread,) = set(threads_of(pid)) - {pid}
        stepping = workshop.start([workshop.program("step_to"), str(thread), str(steps), "here"])
        stepping.ready()
        copy.send()
        return copy, stepping, pid

    _, counting, _ = step(-1)
    count = len(counting.expect(""))
    everything = pytestconfig.getoption("ways") == "all"
    for steps in range(1, count, 1 if everything else count // 3 + IN_A_STUB.index(call)):
        copy, stepping, pid = step(steps)
        passed(stepping.finish(), stepping.nonce)
        wait_until(lambda pid=pid: state_of(pid) == "T", f"{copy} is stopped")  # type: ignore[misc]
        again = workshop.save(pid)
        for child in children_of(copy.pid):
            kill_now(child)
        copy.kill()
        # It has read its line.
        _goes_on(_restart(workshop, again), running, f"{steps} of {count}", "")
    assert [_look(running.pid), _look(tid)] == was
