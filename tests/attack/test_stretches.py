"""A save at an instruction of stretches of code in which the program's own state is half made: in
the midst of calls, of signals and jumps, of new threads and processes, of what the dynamic linker
does.

A thread is stepped from one instruction to another (tests/programs/attack/stepper.c) and stopped
there; the program is saved, and restored with new ids while the original stays stopped beside it.
In the end the original goes on, and then all snapshots are restored with the old ids. Each must do
what is left of the stretch and find that it is right.

Of each stretch as many instructions are tried as CKPT_ATTACK_TIMES says, up to all of them.
"""

from __future__ import annotations

import dataclasses
import os
import random
import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest
from support.attack import TIMES
from support.checkpoint import IDS, VARIANTS, Saved, Workshop, notes
from support.processes import Running, describe, state_of, threads_of, wait_until

pytestmark = pytest.mark.timeout(400 * TIMES)

# In the order of stretches.c, whose list they are compared with.
STRETCHES = """
    calls blocks clocks signals fault jumps threads clone fork vfork spawn exec dlopen memory locks
    rseq
""".split()
CASES = [
    pytest.param(stretch, variant, id=f"{stretch}-{variant.lstrip('.') or 'pie'}")
    for stretch in STRETCHES
    for variant in VARIANTS
    # This one has two C libraries then, whose ids cannot both be translated.
    if (stretch, variant) != ("dlopen", ".static")
]
POINTS = 10
# What a save may say that cannot be made there.
REFUSALS: tuple[str, ...] = ()
# What a restore may say of a stretch.
NOTES = {"exec": r"new ids: no C library that is known was found: .*"}  # it is not loaded yet


def test_the_list_is_complete(workshop: Workshop) -> None:
    listed = workshop.start([workshop.program("stretches"), "--list"]).finish().output
    assert listed.split() == STRETCHES


@dataclasses.dataclass(frozen=True)
class Stretch:
    """A stretch of a program of some variant, in which so many threads stand by."""

    name: str
    variant: str
    threads: int

    def begin(self, workshop: Workshop) -> tuple[Running, Running]:
        """The program, at the first instruction, and what steps it."""
        running = workshop.start(
            [workshop.program("stretches", self.variant), self.name],
            environment={"CKPT_TEST_THREADS": str(self.threads)},
        )
        running.ready()
        stepper = workshop.start([workshop.program("stepper"), str(running.pid)])
        stepper.ready()
        running.send()
        return running, stepper

    def ends_well(
        self, running: Running, nonce: str, *, lost: bool = False, where: str = ""
    ) -> None:
        """A program has done the rest of it. `lost`:
        a child of its is gone, of which it says so.
        """
        result = running.finish()
        said = [line for line in result.output.splitlines() if not line.startswith("READY ")]
        assert result.status == 0 and said == ["LOST"] * lost + [
            f"PASS {nonce}"
        ], f"{where}: {result}"
        assert all(
            re.fullmatch(NOTES.get(self.name, ""), note) for note in notes(result)
        ), f"{where}: {result}"


def instructions(workshop: Workshop, stretch: Stretch) -> tuple[int, list[int]]:
    """How many there are, and which of them are system calls."""
    running, stepper = stretch.begin(workshop)
    stepper.send("count")
    count, *calls = map(int, stepper.expect("COUNT ").split())
    assert count > 10, count
    stretch.ends_well(running, running.nonce)
    return count, calls


def choose(count: int, calls: list[int], number: int, chance: random.Random) -> list[int]:
    """Half of them are system calls and instructions near these, if there are so many;
    all of them if so many are wanted.
    """
    if number >= count:
        return list(range(count + 1))
    near = sorted({min(max(call + off, 0), count) for call in calls for off in range(-2, 3)})
    chosen = set(chance.sample(near, min(len(near), number // 2)))
    while len(chosen) < number:
        chosen.add(chance.randint(0, count))
    return sorted(chosen)


def reached(stepper: Running, running: Running, steps: int) -> bool:
    """Whether it is stopped so many instructions on; else the stretch is over."""
    stepper.send(str(steps))
    if stepper.expect("") == "END":
        return False
    stays_stopped(running)
    return True


def stays_stopped(running: Running) -> None:
    wait_until(
        lambda: all(state_of(running.pid, tid) == "T" for tid in threads_of(running.pid)),
        lambda: f"{running} is stopped\n{describe(running.pid)}",
    )


def loses_a_child(saved: Saved) -> bool:
    return any(re.search(r"lost: child \d+: child process", line) for line in saved.fidelity)


def attack(workshop: Workshop, subject: Stretch, count: int, points: list[int]) -> None:
    """Save at these of so many instructions, in order, and restore all of it."""
    running, stepper = subject.begin(workshop)
    saves: list[tuple[str, Saved, list[int]]] = []
    refused: Counter[str] = Counter()
    here = 0
    for point in points:
        # Not each time quite as many, where other threads or clocks have to do with it.
        if not reached(stepper, running, point - here):
            break
        here = point
        where = f"{subject}, {point} of {count}"
        tids = threads_of(running.pid)
        saved = workshop.try_save(running.pid)
        stays_stopped(running)
        if saved.result.status:
            assert not saved.image.exists(), where
            line = saved.result.errors
            assert any(
                re.fullmatch(f"ckpt-save: {known}\n", line) for known in REFUSALS
            ), f"{where}: {saved.result}"
            refused[line.strip()] += 1
            continue
        assert not saved.result.errors, f"{where}: {saved.result}"
        saves.append((where, saved, tids))
        restart = workshop.restart(saved.image, "--ids", "virtual")
        subject.ends_well(
            restart, running.nonce, lost=loses_a_child(saved), where=f"{where}, new ids"
        )
    else:
        os.kill(running.pid, signal.SIGCONT)
    subject.ends_well(running, running.nonce, where=f"{subject}, the original")
    for where, saved, tids in saves if "saved" in IDS else []:
        restart = workshop.restart_as("saved", tids, saved.image)
        subject.ends_well(
            restart, running.nonce, lost=loses_a_child(saved), where=f"{where}, the old ids"
        )
    print(f"{subject}: {len(saves)} of {count + 1} instructions, {dict(refused)} refused")
    assert saves


def test_in_functions_that_tell_the_time(workshop: Workshop, chance: random.Random) -> None:
    """They may have read a page of the kernel's before the save that the restored program has not:
    root's has clocks of its own.
    """
    subject = Stretch("clocks", ".static", 1)
    count, _ = instructions(workshop, subject)
    attack(workshop, subject, count, list(range(count - 180 + chance.randrange(3), count, 3)))


@pytest.mark.parametrize("stretch,variant", CASES)
def test_anywhere(
    workshop: Workshop,
    stretch: str,
    variant: str,
    times: Callable[[int], int],
    chance: random.Random,
) -> None:
    chance.seed(f"{chance.random()} {os.getuid()}")  # others for the other user
    subject = Stretch(stretch, variant, chance.choice([1, 2]))
    count, calls = instructions(workshop, subject)
    attack(workshop, subject, count, choose(count, calls, times(POINTS), chance))


def test_beside_a_thread_that_sleeps_in_the_same_function(workshop: Workshop) -> None:
    """In `syscall`, which is changed before and behind its system call for the sake of the one
    that is about to make it.
    """
    subject = Stretch("blocks", "", 2)
    count, calls = instructions(workshop, subject)
    attack(workshop, subject, count, [call - 3 for call in calls])
