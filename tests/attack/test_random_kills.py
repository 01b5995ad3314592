"""Whoever saves or restores is killed at random moments, while the program is in the midst of a
storm: no program is harmed, and none is left behind. tests/integration/test_killed.py does it at
each call, to programs that are quieter.
"""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

import pytest
from support.attack import TIMES
from support.checkpoint import Workshop, passed
from support.processes import (
    Running,
    describe,
    exists,
    kill_now,
    let_go,
    stopped_or_traced,
    wait_until,
)

pytestmark = pytest.mark.timeout(400 * TIMES)

ROOT = Path(__file__).resolve().parents[2]


def wait_at_most(pid: int, milliseconds: float) -> None:
    """Until it ends, or until then."""
    pidfd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.poll(milliseconds)
    finally:
        os.close(pidfd)


def kill_at_random(
    workshop: Workshop, arguments: Sequence[str | Path], within_ms: float, chance: random.Random
) -> bool:
    """Start it and kill it; whether it was still there."""
    running = workshop.start(arguments)
    wait_at_most(running.pid, chance.uniform(0, within_ms))
    kill_now(running.pid)
    return running.finish().status == -signal.SIGKILL


def lives_on(running: Running) -> None:
    """Nobody holds it any more, and it goes on with what it does."""
    let_go(running.pid)
    assert exists(running.pid), running.finish()


def lives_on_after_gdb(running: Running) -> bool:
    """As above. A GDB that dies may leave a SIGSTOP of its own behind, one that saves nothing as
    often: whether the program had to be told to go on.
    """
    told = False

    def goes_on() -> bool:
        nonlocal told
        threads = stopped_or_traced(running.pid)
        if (
            threads
            and not told
            and all(re.search(r"^TracerPid:\s+0$", one, re.MULTILINE) for one in threads)
        ):
            os.kill(running.pid, signal.SIGCONT)
            told = True
        return not threads

    wait_until(goes_on, lambda: f"no thread is stopped or traced\n{describe(running.pid)}")
    lives_on(running)
    return told


def duration_ms(action: Callable[[], object]) -> float:
    """What moments are chosen in."""
    begin = monotonic()
    action()
    return 1000 * (monotonic() - begin)


def test_savers(workshop: Workshop, times: Callable[[int], int], chance: random.Random) -> None:
    running = workshop.start_program("storm", "strict")
    # The first one also fills the store.
    took_ms = min(duration_ms(lambda: workshop.save(running.pid)) for _ in range(3))
    killed = 0
    for _ in range(times(20)):
        image = workshop.new_image()
        killed += kill_at_random(
            workshop, workshop.save_command(running.pid, image), took_ms, chance
        )
        lives_on(running)
        image.unlink(missing_ok=True)
    running.send()
    passed(running.finish(), running.nonce)
    print(f"{killed} of {times(20)} savers were killed before they had ended by themselves")
    assert killed


def test_restorers(workshop: Workshop, times: Callable[[int], int], chance: random.Random) -> None:
    running = workshop.start_program("storm")
    saved = workshop.save(running.pid)
    running.kill()
    restart = workshop.restart_command(saved.image)

    def whole() -> None:
        tool = workshop.start(restart)
        tool.send()
        passed(tool.finish(), running.nonce)

    took_ms = min(duration_ms(whole) for _ in range(3))
    for _ in range(times(20)):
        tool = workshop.start(restart)
        wait_at_most(tool.pid, chance.uniform(0, took_ms))
        kill_now(tool.pid)
        # A program that had been let go is its own, and ends here.
        # Nobody else may hold its streams any more.
        tool.end_of_input()
        assert tool.finish().status == -signal.SIGKILL


def test_debuggers(workshop: Workshop, times: Callable[[int], int], chance: random.Random) -> None:
    """A GDB that is saving the program. Not while it attaches:
    then one without us leaves SIGSTOPs behind, too.
    """
    if not shutil.which("gdb"):
        pytest.skip("no gdb")
    running = workshop.start_program("storm")
    image = workshop.directory / "by-gdb.ckpt"
    words = [
        "gdb", "-nx", "-q", "-batch",
        "-iex", "set auto-load off", "-iex", "set print thread-events off",
        "-iex", f"source {ROOT / 'gdbext' / 'load.py'}",
        "-ex", "python print('BEGUN', flush=True)", "-ex", f"attach {running.pid}",
        "-ex", "python print('\\nATTACHED', flush=True)",
        "-ex", f"ckpt save storm -o {image} -force",
    ]  # fmt: skip

    def attached() -> Running:
        gdb = workshop.start(words)
        wait_until(
            lambda: gdb.has_printed("ATTACHED"), lambda: f"GDB has attached\n{gdb.transcript()}"
        )
        return gdb

    took_ms = duration_ms(attached().finish)
    assert image.exists()
    told = 0
    for _ in range(times(4)):
        gdb = attached()
        wait_at_most(gdb.pid, chance.uniform(0, took_ms))
        kill_now(gdb.pid)
        gdb.finish()
        told += lives_on_after_gdb(running)
    print(f"{told} of {times(4)} programs were stopped by a SIGSTOP of GDB's")
    running.send()
    passed(running.finish(), running.nonce)


def test_restores(workshop: Workshop, times: Callable[[int], int]) -> None:
    """Of snapshots that were made in the storm: each goes on."""
    running = workshop.start_program("storm")
    images = [workshop.save(running.pid).image for _ in range(2)]
    running.send()
    passed(running.finish(), running.nonce)
    for number in range(times(20)):
        restart = workshop.restart(images[number % len(images)])
        restart.send()
        passed(restart.finish(), running.nonce)
