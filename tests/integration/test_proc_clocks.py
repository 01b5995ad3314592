"""Monotonic clocks: they go on from what they were, or the restore says by how much they jump.

That the machine's clocks are others than at the save is had without a reboot: the program that is
saved runs in a time namespace, far ahead of or behind the machine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.checkpoint import Way, Workshop, notes, pairwise, passed, restored_pid, round_trip
from support.probes import namespaces
from support.processes import Running, as_root, children_of

AHEAD = 10_000_000  # seconds
WAYS = [pytest.param(way, id=str(way)) for way in pairwise()]


needs_namespaces = pytest.mark.skipif(
    not namespaces("--time"), reason="no time namespaces for this user here"
)
# Others may not choose whether the program gets one.
as_others = () if as_root() else ("--clock", "keep")


def start_ahead(
    workshop: Workshop, *arguments: str, seconds: int = AHEAD, way: Way = Way()
) -> Running:
    """The program in a time namespace whose clocks are ahead of the
    machine's; it must be let end.
    """
    program = workshop.program(arguments[0], way.variant)
    unshare = [
        "unshare",
        *([] if as_root() else ["--user"]),
        "--time",
        f"--monotonic={seconds}",
        f"--boottime={seconds}",
    ]
    # Under older kernels (6.1) only a child is in the namespace, not what its parent executes.
    child: list[str | Path] = ["sh", "-c", '"$@"; exit', "sh", program, *arguments[1:]]
    running = workshop.start([*unshare, *child], way=way)
    running.ready()
    (running.pid,) = children_of(running.pid)
    return running


@needs_namespaces
@pytest.mark.parametrize("way", WAYS)
def test_kept(workshop: Workshop, way: Way) -> None:
    original = start_ahead(workshop, "proc_clocks", "keep", way=way)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    for _ in range(2):
        restart = workshop.restart_as(way.ids, [original.pid], saved.image, *as_others)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        _only_expected_notes(notes(result))


@needs_namespaces
def test_a_slow_save(workshop: Workshop) -> None:
    """Where the clock goes on from, a timer that is looked at late has no more left than it had."""
    original = workshop.start_program("proc_timers", "timerfd")
    image = workshop.new_image()
    late = ["-P", f"/proc/{original.pid}/fdinfo/0", "-e", "inject=openat:delay_enter=300000:when=1"]
    strace: list[str | Path] = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=openat", *late]
    assert (
        workshop.start([*strace, *workshop.save_command(original.pid, image)]).finish().status == 0
    )
    restart = workshop.restart(image, *as_others)
    for running in (original, restart):
        running.send()
        passed(running.finish(), original.nonce)


def _only_expected_notes(found: list[str]) -> None:
    if as_root():
        assert not found, found
    else:
        assert len(found) == 1 and "user namespace" in found[0], found


@needs_namespaces
@pytest.mark.thorough
def test_absolute_deadlines(workshop: Workshop) -> None:
    """By the machine's clocks they would lie a hundred days ahead."""
    original = start_ahead(workshop, "proc_clocks", "sleep")
    saved = workshop.save(original.pid)
    passed(original.finish(), original.nonce)
    restart = workshop.restart(saved.image, *as_others)
    result = restart.finish()
    passed(result, original.nonce)
    _only_expected_notes(notes(result))


@needs_namespaces
def test_generations(workshop: Workshop) -> None:
    """Saved in a time namespace, restored in one, saved there, restored."""
    family = [start_ahead(workshop, "proc_clocks", "keep")]
    pid = family[0].pid
    for _ in range(3):
        saved = workshop.save(pid)
        family.append(workshop.restart(saved.image, "--ids", "virtual", *as_others))
        pid = restored_pid(family[-1])
    for running in family:
        running.send()
        passed(running.finish(), family[0].nonce)


@needs_namespaces
@pytest.mark.parametrize(
    "options", [["--clock", "real"], ["--clock", "auto"]], ids=["real", "auto"]
)
def test_clock_behind_is_said_loudly(workshop: Workshop, options: list[str]) -> None:
    if as_root() and "auto" in options:
        pytest.skip("root keeps the clocks")
    original = start_ahead(workshop, "proc_clocks", "print")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    restart = workshop.restart(saved.image, *options)
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    (line,) = notes(result)
    assert re.match(
        r"THE MACHINE WAS BOOTED .* CLOCK_MONOTONIC is 115 days behind .* --clock keep", line
    ), line
    assert re.search(r"^MONOTONIC -99999\d\d$", result.output, re.M), result.output


@needs_namespaces
def test_clock_ahead_is_said(workshop: Workshop) -> None:
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    if uptime < 600:
        pytest.skip("the machine was booted just now")
    original = start_ahead(workshop, "proc_clocks", "print", seconds=-500)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    restart = workshop.restart(saved.image, "--clock", "real")
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    (line,) = notes(result)
    assert re.fullmatch(
        r"the program's CLOCK_MONOTONIC and CLOCK_BOOTTIME jump [89] min ahead", line
    ), line
    assert re.search(r"^MONOTONIC 5\d\d$", result.output, re.M), result.output


def test_without_an_option_nothing_is_said_of_a_stop(workshop: Workshop) -> None:
    """A restore on the same machine is to the clocks what a stop in the debugger is."""
    round_trip(workshop, "proc_clocks", "keep")


def test_the_namespace_is_one_of_time_alone(workshop: Workshop) -> None:
    """As root nothing else of the surroundings changes;
    an ordinary user's program gets a namespace only when asked for.
    """
    original = workshop.start_program("exit_status", "0")
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image)
    pid = restored_pid(restart)
    for name in os.listdir("/proc/self/ns"):
        if name.startswith("time"):
            same = os.readlink(f"/proc/{pid}/ns/time") == os.readlink("/proc/self/ns/time")
            assert same != as_root()
        else:
            assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(
                f"/proc/self/ns/{name}"
            ), name
    for running in (original, restart):
        running.send()
        passed(running.finish(), original.nonce)


@needs_namespaces
def test_keep_where_there_are_no_time_namespaces(workshop: Workshop) -> None:
    """The limit is that of a user namespace made for this."""
    original = workshop.start_program("exit_status", "0")
    saved = workshop.save(original.pid)
    none = 'echo 0 > /proc/sys/user/max_time_namespaces; exec "$@"'
    inside = ["unshare", "--user", "--map-root-user", "sh", "-c", none, "sh"]
    refused = workshop.start(
        [*inside, *workshop.restart_command(saved.image, "--clock", "keep")]
    ).finish()
    assert refused.status == 125 and not refused.output, f"{refused}"
    assert re.fullmatch(
        r"ckpt-restart: .*max_time_namespaces allows none: use --clock real\n", refused.errors
    ), refused
    # By default it is done without.
    restart = workshop.start([*inside, *workshop.restart_command(saved.image)])
    for running in (original, restart):
        running.send()
        result = running.finish()
        passed(result, original.nonce)
    # Root of a user namespace cannot become one whom that does not know.
    expected = (
        [] if as_root() else [f"the program ran as user {os.geteuid()}: it goes on as user 0"]
    )
    assert notes(result) == expected, result


@needs_namespaces
def test_with_new_ids_after_all(workshop: Workshop) -> None:
    """The saved ids are taken: what a first attempt at the restore has
    set up does not count twice.
    """
    original = start_ahead(workshop, "proc_clocks", "keep")
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image, "--ids", "auto", *as_others)
    for running in (restart, original):
        running.send()
        passed(running.finish(), original.nonce)
