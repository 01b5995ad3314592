"""Who saves or restores is killed, at any moment. The saved program goes on as if nothing had been;
of one that was being restored nothing stays.
"""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import Workshop, passed
from support.processes import let_go, state_of, wait_until

pytestmark = pytest.mark.thorough

# What changes the program or its threads, call by call; between two of them nothing does.
CALLS = ("ptrace", "pwrite64", "tgkill")
# How many of the moments are tried, evenly spread, if not all of them are.
MOMENTS = 60
RSEQ_BYTES = 32


def save_under_strace(workshop: Workshop, pid: int, *options: str) -> tuple[int, Path]:
    """What `ckpt-save` ended with, and the log of its calls."""
    image, log = workshop.directory / "killed.ckpt", workshop.directory / "calls"
    image.unlink(missing_ok=True)
    strace: list[str | Path] = [
        "strace", "-qq", "-o", log, *options, workshop.build / "bin" / "ckpt-save", str(pid), image,
    ]  # fmt: skip
    return workshop.start(strace).finish().status, log


def moments(workshop: Workshop, pid: int, thorough: bool, after: str = "") -> list[tuple[str, int]]:
    """Calls of a save, and which of that name: each is a moment at which it can be killed. `after`:
    those of ptrace that come after the first one that holds this text.
    """
    status, log = save_under_strace(workshop, pid, "-e", f"trace={','.join(CALLS)}")
    assert status == 0, log.read_text()
    count = {call: len(re.findall(rf"^{call}\(", log.read_text(), re.MULTILINE)) for call in CALLS}
    assert count["ptrace"] > 100 and count["pwrite64"] > 10, count
    first = {
        "ptrace": len(re.findall(r"^ptrace\(", log.read_text().partition(after)[0], re.MULTILINE))
        if after
        else 0
    }
    every = [
        (call, number + 1) for call in CALLS for number in range(first.get(call, 0), count[call])
    ]
    return every if thorough else every[:: max(1, len(every) // MOMENTS)]


def kill_at(workshop: Workshop, pid: int, call: str, number: int) -> None:
    inject = f"inject={call}:signal=KILL:when={number}"
    status, log = save_under_strace(workshop, pid, "-e", f"trace={call}", "-e", inject)
    # Two saves of one program need not make quite the same calls.
    assert status in (-signal.SIGKILL, 0), f"{status}\n{log.read_text()[-2000:]}"


def changed_memory(before: oracle.Look, after: oracle.Look) -> list[str]:
    """Where what the program has written is another:
    not below its stacks' ends, nor in what the kernel has given it.
    """
    found = []
    for mapping in before.mappings:
        if (
            "w" not in mapping.permissions
            or mapping.name == "[stack]"
            or mapping.start not in before.memory
        ):
            continue
        if any(
            thread.call and mapping.start <= thread.call[0] < mapping.end
            for thread in before.threads
        ):
            continue  # a thread's stack
        old = bytearray(before.memory[mapping.start])
        # A new neighbour of the same kind is one mapping with it.
        new = bytearray()
        for start, content in after.memory.items():
            if start <= mapping.start < start + len(content):
                new += content[mapping.start - start : mapping.start - start + len(old)]
        for thread in before.threads:
            # Where the kernel writes which processor it runs on.
            if mapping.start <= thread.rseq < mapping.end:
                at = thread.rseq - mapping.start
                old[at : at + RSEQ_BYTES] = new[at : at + RSEQ_BYTES] = bytes(RSEQ_BYTES)
        if new != old:
            found.append(str(mapping))
    return found


@pytest.fixture
def thorough(request: pytest.FixtureRequest) -> bool:
    """Whether every moment is tried."""
    return bool(request.config.getoption("ways") == "all")


def test_threads_that_wait(workshop: Workshop, thorough: bool) -> None:
    """Registers, masks and extended state of all threads,
    and the memory, after each of the kills.
    """
    running = workshop.start_program("threads", "4")
    every = moments(workshop, running.pid, thorough)
    oracle.wait_asleep(running.pid)
    before = oracle.look(running.pid, workshop.register_dump)
    for call, number in every:
        kill_at(workshop, running.pid, call, number)
        let_go(running.pid)
        oracle.wait_asleep(running.pid)
        after = oracle.look(running.pid, workshop.register_dump)
        when = f"killed at {call} {number}"
        assert after.threads == before.threads, when
        assert after.process == before.process and after.files == before.files, when
        assert not changed_memory(before, after), when
    running.send()
    passed(running.finish(), running.nonce)


WAITS = (
    "pause", "sigsuspend", "sem_timedwait", "futex_timeout", "read_pipe", "poll_timeout",
    "ppoll_mask",
)  # fmt: skip
# These the kernel has fail with EINTR when it interrupts them for a tracer,
# until that one has seen to it.
INTERRUPTED_WAITS = (
    "sigwaitinfo", "sigtimedwait", "recv_timeout", "epoll_wait", "epoll_wait_timeout", "semop",
)  # fmt: skip


@pytest.mark.parametrize("case", WAITS + INTERRUPTED_WAITS)
def test_a_call_that_waits(workshop: Workshop, thorough: bool, case: str) -> None:
    """It goes on to wait: neither an EINTR nor an early end shows."""
    running = workshop.start_program("blocked", case)
    wait_until(lambda: state_of(running.pid) == "S", "it sleeps in its call")
    after = "PTRACE_SETREGS" if case in INTERRUPTED_WAITS else ""
    for call, number in moments(workshop, running.pid, thorough, after)[:: 1 if thorough else 4]:
        kill_at(workshop, running.pid, call, number)
        let_go(running.pid)
    running.send()
    passed(running.finish(), running.nonce)


@pytest.mark.parametrize("program", ["thr_hammer", "thr_signals"])
def test_threads_that_run(workshop: Workshop, thorough: bool, program: str) -> None:
    """They lock all the time, or send themselves signals, and check what they do: that no signal
    that a save finds just being delivered is lost or delivered twice, and that it comes in its
    order with its value.
    """
    running = workshop.start_program(program)
    for call, number in moments(workshop, running.pid, thorough):
        kill_at(workshop, running.pid, call, number)
        let_go(running.pid)
    running.send()
    passed(running.finish(), running.nonce)


def test_a_restore_is_killed(workshop: Workshop, thorough: bool) -> None:
    """No process stays behind: that is looked for after each test."""
    running = workshop.start_program("threads", "4")
    saved = workshop.save(running.pid)
    running.kill()
    log = workshop.directory / "calls"
    restart = [workshop.build / "bin" / "ckpt-restart", saved.image]

    whole = workshop.start(["strace", "-qq", "-o", log, "-e", "trace=ptrace", *restart])
    whole.send()
    passed(whole.finish(), running.nonce)

    def calls() -> int:
        return len(re.findall(r"^ptrace\(", log.read_text(), re.MULTILINE))

    count = calls()
    assert count > 100
    for number in range(1, count + 1, 1 if thorough else max(1, count // MOMENTS)):
        kill = f"inject=ptrace:signal=KILL:when={number}"
        killed = workshop.start(
            ["strace", "-qq", "-o", log, "-e", "trace=ptrace", "-e", kill, *restart]
        )
        killed.send(may_have_ended=True)
        result = killed.finish()
        if calls() < number:  # it waits for its threads more or less often
            passed(result, running.nonce)
        else:
            assert result.status == -signal.SIGKILL, f"at call {number} of {count}: {result}"
