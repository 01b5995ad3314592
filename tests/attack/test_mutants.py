"""Mutants of snapshots with right digests: each is taken or refused in one line, and nothing comes
of it that drives a terminal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.attack import SEED, TIMES, harmless, look_in_child
from support.checkpoint import Workshop
from support.processes import Result

pytestmark = pytest.mark.timeout(400 * TIMES)


@pytest.fixture(params=["exit_status", "fd_unix", "storm"])
def seed_image(request: pytest.FixtureRequest, workshop: Workshop) -> Path:
    """A snapshot to make mutants of."""
    arguments = {"exit_status": ("0",), "fd_unix": ("accepted",), "storm": ()}[request.param]
    running = workshop.start_program(request.param, *arguments)
    image = workshop.save(running.pid).image
    running.kill()
    return image


def mutants(workshop: Workshop, image: Path, count: int, *directory: Path) -> Result:
    tool = workshop.build / "tests" / "ckpt-mutants"
    return workshop.start([tool, image, str(count), str(SEED), *directory]).finish(timeout_s=3600)


def test_the_native_reader(
    workshop: Workshop, seed_image: Path, times: Callable[[int], int]
) -> None:
    """What a restore checks before anything is started, and what is shown."""
    result = mutants(workshop, seed_image, times(1500))
    assert result.status == 0, f"{result}"
    print(result.output)


def test_what_is_shown(workshop: Workshop, seed_image: Path, times: Callable[[int], int]) -> None:
    """The program `ckpt`, in text and JSON, and all of a snapshot as data."""
    for name in made(workshop, seed_image, times(20)):
        look_in_child(name)


def made(workshop: Workshop, image: Path, count: int) -> Iterator[Path]:
    """The mutants, a hundred at a time."""
    directory = workshop.directory / "mutants"
    directory.mkdir()
    result = mutants(workshop, image, count, directory)
    assert result.status == 0, f"{result}"
    yield from sorted(directory.iterdir())


def test_restarts(workshop: Workshop, seed_image: Path, times: Callable[[int], int]) -> None:
    """As for a debugger that then does not come: the program is made, but nothing of it runs. No
    process stays, which is looked for after each test.
    """
    for image in made(workshop, seed_image, times(12)):
        report, control = os.pipe(), os.pipe()
        options = [
            "--park", "--report-fd", str(report[1]), "--control-fd", str(control[0]),
            "--files", "private",
        ]  # fmt: skip
        restart = workshop.start(
            workshop.restart_command(image, *options), pass_fds=(report[1], control[0])
        )
        os.close(report[1])
        os.close(control[0])
        with open(report[0], "rb") as stream:
            said = stream.readline()
        os.close(control[1])
        result = restart.finish()
        assert result.status in (0, 125), f"{image}: {result}"
        lines = said.decode().splitlines() or result.errors.splitlines()
        assert len(lines) == 1, f"{image}: {said!r}\n{result}"
        harmless(result.errors)
