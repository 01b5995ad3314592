"""`ckpt-restart --env NAME=VALUE`: what getenv() tells in the restored program."""

from __future__ import annotations

import subprocess

import pytest
from support import oracle
from support.checkpoint import Way, Workshop, notes, pairwise, passed, restored_pid, round_trip
from support.processes import Running, threads_of

LONG = "x" * 100_000


def start(workshop: Workshop, what: str, way: Way = Way()) -> Running:
    environment = {"ONE": "1", "TWO": "2", "EMPTY": ""}
    program = workshop.start_program("environ", what, way=way, environment=environment)
    for _ in range(5):
        program.expect("before ")
    oracle.wait_asleep(program.pid)
    return program


def told(output: str, when: str) -> dict[str, str]:
    """The variables that the program had."""
    found = {}
    for line in output.splitlines():
        if line.startswith(when + " "):
            name, _, rest = line.removeprefix(when + " ").partition("=")
            value, length = rest.rsplit(" ", 1)
            if value != "(none)":
                found[name] = value if len(value) < 20 else length
    return found


@pytest.mark.parametrize("way", pairwise(), ids=str)
@pytest.mark.parametrize("what", ["", "setenv", "putenv", "clearenv", "null", "twice"])
def test_env(workshop: Workshop, what: str, way: Way) -> None:
    """Replaced, added, empty, long, given twice; the rest is as it was, and so is the original."""
    program = start(workshop, what, way)
    image = workshop.save(program.pid).image
    tids = threads_of(program.pid)
    program.send()
    original = program.finish()
    passed(original, program.nonce)
    before = told(original.output, "before")
    assert told(original.output, "after") == before
    changes = {"ONE": "new=1 2", "THREE": "", "LONG": LONG}
    words = [word for name, value in changes.items() for word in ("--env", f"{name}={value}")]
    for _ in range(2):
        restart = workshop.restart_as(way.ids, tids, image, "--env", "ONE=not the last", *words)
        restart.send()
        result = restart.finish()
        passed(result, program.nonce)
        assert told(result.output, "after") == {**before, **changes, "LONG": str(len(LONG))}
        assert notes(result) == [] or way.ids == "virtual"


@pytest.mark.parametrize("name", ["ONE", "THREE"])
def test_one_alone(workshop: Workshop, name: str) -> None:
    """Replacing needs no new array, adding does."""
    program = start(workshop, "")
    image = workshop.save(program.pid).image
    program.send()
    before = told(program.finish().output, "before")
    restart = workshop.restart(image, "--env", f"{name}=x")
    restart.send()
    result = restart.finish()
    passed(result, program.nonce)
    assert told(result.output, "after") == {**before, name: "x"}


def test_without_env(workshop: Workshop) -> None:
    round_trip(workshop, "environ")


@pytest.mark.parametrize("entry", ["ONE", "=1", ""])
def test_what_is_no_variable(workshop: Workshop, entry: str) -> None:
    program = start(workshop, "")
    image = workshop.save(program.pid).image
    assert f'"{entry}" is not of the form NAME=VALUE' in workshop.refused(image, "--env", entry)


def test_a_program_without_symbols(workshop: Workshop) -> None:
    """Nobody can tell where its environment is."""
    stripped = workshop.directory / "stripped"
    subprocess.run(["strip", "-o", stripped, workshop.program("environ", ".static")], check=True)
    program = workshop.start([stripped])
    program.ready()
    image = workshop.try_save(program.pid).image
    line = workshop.refused(image, "--env", "ONE=2")
    assert (
        f"the environment of {stripped} cannot be changed: it has no C library with symbols" in line
    )


def test_a_saved_change_is_kept(workshop: Workshop) -> None:
    """The next snapshot has it."""
    program = start(workshop, "")
    image = workshop.save(program.pid).image
    program.send()
    program.finish()
    restart = workshop.restart(image, "--env", "THREE=x")
    again = workshop.save(restored_pid(restart)).image
    restart.send()
    passed(restart.finish(), program.nonce)
    restart = workshop.restart(again)
    restart.send()
    result = restart.finish()
    passed(result, program.nonce)
    assert told(result.output, "after")["THREE"] == "x"
