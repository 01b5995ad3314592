"""What will not come back as it was is named when it is saved, and the save does not disturb it."""

from __future__ import annotations

import re
import subprocess

import pytest
from support import oracle
from support.checkpoint import Workshop, passed
from support.processes import system_call_of, wait_until

# Kind of kernel object -> what its line in the report must contain.
# A kind that comes back whole needs no line: None.
KINDS: dict[str, str | None] = {
    "tcp": None,
    "udp": None,
    "unix_pair": None,
    "netlink": None,
    "epoll": None,
    "eventfd": None,
    "timerfd": None,
    "signalfd": None,
    "inotify": None,
    "fanotify": None,
    "memfd": None,
    "memfd_secret": "secret",
    "itimer_real": None,
    "itimer_virtual": None,
    "posix_timer": None,
    "child": "child",
    "zombie": None,
    "pidfd": None,
    "posix_lock": None,
    "flock": None,
    "sysv_shm": None,
    "fifo": None,
    "pty": "pty|pt[ms]x|terminal",
    "userfaultfd": "userfault",
    "io_uring": None,
    "perf_event": "perf",
    "aio": None,
}


def test_the_list_is_complete(workshop: Workshop) -> None:
    program = workshop.program("kernel_objects")
    listed = subprocess.run(
        [program, "--list"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert listed == list(KINDS)


@pytest.mark.parametrize("kind", list(KINDS))
def test_each_kind_is_named(workshop: Workshop, kind: str) -> None:
    plain = workshop.start_program("exit_status", "0")
    oracle.wait_asleep(plain.pid)
    usual = [_without_numbers(line) for line in workshop.save(plain.pid).fidelity]
    original = workshop.start_program("kernel_objects", kind)
    oracle.wait_asleep(original.pid)
    saved = workshop.try_save(original.pid)
    report = [line for line in saved.fidelity if _without_numbers(line) not in usual]
    # Nothing that is refused may be refused without its name.
    said = "\n".join(report) if saved.result.status == 0 else saved.result.errors
    original.send()
    passed(original.finish(), original.nonce)
    if KINDS[kind] is None:
        # It has to come back whole, which the program checks.
        assert saved.result.status == 0 and not report, f"{saved.result}"
        restart = workshop.restart(saved.image)
        restart.send()
        passed(restart.finish(), original.nonce)
    else:
        assert re.search(
            str(KINDS[kind]), said, re.IGNORECASE
        ), f"{kind} is not named:\n{saved.result}"
    if saved.result.status == 0:
        for line in report:
            assert line == "Will not come back as it was:" or re.match(
                r"(lost|changed|note): \S", line
            ), line


def _without_numbers(line: str) -> str:
    return re.sub(r"\[\d+\]", "[]", line)


def _wait_until_it_sleeps(pid: int) -> None:
    """In the call that a sleep(1) is about: while it is still being loaded,
    it may be waiting for the disk.
    """
    sleeps = (35, 230)  # nanosleep, clock_nanosleep

    def there() -> bool:
        call = system_call_of(pid, pid)
        return call is not None and call[0] in sleeps

    wait_until(there, "it sleeps")


def test_strict(workshop: Workshop) -> None:
    """Nothing is saved when something would be lost or changed; else all is as without."""
    original = workshop.start_program("kernel_objects", "userfaultfd")
    refused = workshop.try_save(original.pid, None, "--strict")
    assert refused.result.status == 1 and not refused.image.exists(), f"{refused.result}"
    assert refused.result.errors.startswith("ckpt-save: "), f"{refused.result}"
    assert (
        "lost: fd 3: userfaultfd" in refused.result.errors
        and "(and 3 more;" in refused.result.errors
    ), f"{refused.result}"
    assert len(refused.result.errors.splitlines()) == 1
    original.send()
    passed(original.finish(), original.nonce)
    with open("/dev/null", "r+b") as null:
        plain = workshop.start(["/bin/sleep", "1000"], stdin=null, stdout=null, stderr=null)
        _wait_until_it_sleeps(plain.pid)
        workshop.save(plain.pid, None, "--strict")


def test_nothing_to_report_for_a_plain_program(workshop: Workshop) -> None:
    """Files and /dev/null as standard streams; waiting in pause()."""
    with (workshop.directory / "log").open("wb") as log, open("/dev/null", "rb") as null:
        original = workshop.start(["/bin/sleep", "1000"], stdin=null, stdout=log, stderr=log)
        _wait_until_it_sleeps(original.pid)
        saved = workshop.save(original.pid)
    assert len(saved.result.output.splitlines()) == 1, saved.result.output


def test_inherited_pipes_are_named(workshop: Workshop) -> None:
    """They lead out of the program: the other end will be another one."""
    original = workshop.start_program("exit_status", "0")
    saved = workshop.save(original.pid)
    for fd in (0, 1, 2):
        assert any(
            re.match(rf"changed: fd {fd}: pipe: ", line) for line in saved.fidelity
        ), saved.result.output


def test_worst_comes_first(workshop: Workshop) -> None:
    script = (
        "import socket,os,time; s=socket.socketpair(); os.fork() or __import__('signal').pause(); "
    )
    script += "print('READY x', flush=True); input(); os.kill(0, 9)"
    original = workshop.start(["/usr/bin/python3", "-c", script], before_exec=_own_group)
    original.ready()
    saved = workshop.save(original.pid)
    ranks = {"lost": 0, "changed": 1, "note": 2}
    found = [ranks[line.split(":")[0]] for line in saved.fidelity if line.split(":")[0] in ranks]
    assert found and found == sorted(found), saved.result.output
    original.send()
    original.finish()


def _own_group() -> None:
    import os

    os.setpgid(0, 0)
