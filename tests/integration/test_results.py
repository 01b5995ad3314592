"""Ids in the results of system calls: processes made after a restore with new ids are
called one thing by everybody.
"""

from __future__ import annotations

import platform

import pytest
from support import oracle
from support.checkpoint import Way, Workshop, pairwise, passed, restored_pid, round_trip
from support.processes import as_root, threads_of

WAYS = [pytest.param(way, id=str(way)) for way in pairwise()]
# In a newer glibc one function makes all calls that may block, and has no room behind its own.
CALLS_BY_ITSELF = tuple(map(int, platform.libc_ver()[1].split("."))) < (2, 41)
TRANSLATED = pytest.mark.skipif(
    not CALLS_BY_ITSELF, reason="results are not translated in this glibc (docs/limits.md)"
)


@TRANSLATED
@pytest.mark.parametrize("way", WAYS)
def test_children_made_later(workshop: Workshop, way: Way) -> None:
    """Also as root with new ids, where a child gets the kernel id that the
    program remembers as its own.
    """
    original = workshop.start_program("proc_family", way=way)
    tids = threads_of(original.pid)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    for _ in range(10):
        restart = workshop.restart_as(way.ids, tids, saved.image)
        again = workshop.save(restored_pid(restart)).image
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert not result.errors, result
        if not as_root() or way.ids != "virtual" or "COLLIDED" in result.output:
            break
    else:
        raise AssertionError(f"somebody took the id {original.pid} every time")
    later = workshop.restart(again, "--ids", "virtual")
    later.send()
    passed(later.finish(), original.nonce)


@pytest.mark.parametrize("way", WAYS)
def test_saved_while_it_waits_for_a_child(workshop: Workshop, way: Way) -> None:
    """A thread blocked in a function that was changed behind its system call is where it was,
    and the function as well.
    """
    original = workshop.start_program("proc_family", "wait", way=way)
    oracle.wait_asleep(original.pid)
    look = oracle.look(original.pid, workshop.register_dump)
    image = workshop.save(original.pid).image
    restart = workshop.restart(image, "--ids", "virtual")
    pid = restored_pid(restart, look)
    restart.send()
    restart.expect("WAITS")
    oracle.wait_asleep(pid)
    before = oracle.look(pid, workshop.register_dump)
    again = workshop.save(pid).image
    changed = oracle.differences(before, oracle.look(pid, workshop.register_dump))
    assert not changed, "the save changed the program:\n" + "\n".join(changed)
    later = workshop.restart(again, "--ids", "virtual")
    later.expect("A KILLED CHILD")
    passed(later.finish(), original.nonce)
    restart.send()
    restart.expect("A CHILD")
    passed(restart.finish(), original.nonce)
    original.send()
    original.expect("WAITS")
    original.send()
    passed(original.finish(), original.nonce)


@TRANSLATED
@pytest.mark.parametrize("way", WAYS)
def test_credentials_in_messages(workshop: Workshop, way: Way) -> None:
    """The process id in them is the one that getpid() gives, received or sent."""
    round_trip(workshop, "proc_messages", way=way)
