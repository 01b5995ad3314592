"""io_uring and contexts of io_setup(2): with their counters, their memory at its place, and what is
registered. The programs use them by the bare system calls, and check themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support import oracle
from support.checkpoint import IDS, Way, Workshop, full, notes, passed, restored_pid
from support.forge import Forgery

RINGS = """
    fresh idle wrapped large one_entry no_array large_no_array other_size unread queued
    registered_files registered_buffers tells_eventfd in_epoll disabled many_of_one by_number
""".split()
CONTEXTS = "aio_fresh aio_idle aio_wrapped aio_large aio_unread aio_unread_across aio_two".split()
# With a thread of the kernel's, and with a request that is in flight.
OTHERS = ["reading", "polled"]
# The report of a program in the harness names its three standard streams,
# which are pipes, and nothing else.
USUAL = 3


def test_list_is_complete(workshop: Workshop) -> None:
    listed = workshop.start([workshop.program("fd_rings"), "--list"]).finish().output.split()
    assert sorted(listed) == sorted(RINGS + CONTEXTS + OTHERS)


@pytest.mark.parametrize("subject", RINGS + CONTEXTS + OTHERS)
def test_alone(workshop: Workshop, subject: str) -> None:
    """The test itself is right: the program passes without any checkpoint."""
    running = workshop.start_program("fd_rings", subject)
    running.send()
    passed(running.finish(), running.nonce)


@pytest.mark.parametrize("way", full(threads=(1, 4), ids=IDS), ids=str)
@pytest.mark.parametrize("subject", RINGS + CONTEXTS)
def test_restored(workshop: Workshop, subject: str, way: Way) -> None:
    original = workshop.start_program("fd_rings", subject, way=way)
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid)
    said = [line for line in saved.fidelity if line != "Will not come back as it was:"]
    if subject == "registered_files":
        # Both ends of a pipe, which have one name.
        assert said[USUAL:] == [
            f"changed: fd 3: io_uring: its registered file {i + 1} is taken to be fd {4 + i}"
            for i in (0, 1)
        ]
    else:
        assert len(said) == USUAL, saved.result.output
    tids = [thread.tid for thread in before.threads]
    original.kill()
    for _ in range(3):
        restart = workshop.restart_as(way.ids, tids, saved.image)
        pid = restored_pid(restart, before)
        changed = oracle.differences(before, oracle.look(pid, workshop.register_dump))
        assert not changed, "the restored program differs:\n" + "\n".join(changed)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert not notes(result), f"{result}"


@pytest.mark.parametrize("subject", RINGS + CONTEXTS + OTHERS)
def test_not_disturbed(workshop: Workshop, subject: str) -> None:
    """Saved, it goes on as if nothing had been."""
    original = workshop.start_program("fd_rings", subject)
    oracle.wait_asleep(original.pid)
    workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)


@pytest.mark.thorough
@pytest.mark.parametrize("subject", [*RINGS, *CONTEXTS, "polled"])
def test_saved_again(workshop: Workshop, subject: str) -> None:
    """What was restored is saved and restored like the original."""
    original = workshop.start_program("fd_rings", subject)
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    restart = workshop.restart(saved.image)
    again = workshop.save(restored_pid(restart))
    assert len(again.fidelity) == len(saved.fidelity), again.result.output
    restart.send()
    passed(restart.finish(), original.nonce)
    restart = workshop.restart(again.image)
    restart.send()
    passed(restart.finish(), original.nonce)


@pytest.mark.parametrize("ids", IDS)
def test_in_flight(workshop: Workshop, ids: str) -> None:
    """A read of an empty pipe: it is named, ends in the copy,
    and in the original is as if nothing had been.
    """
    original = workshop.start_program("fd_rings", "reading")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    assert (
        "changed: fd 3: io_uring: what is in flight (READ) "
        "ends with ECANCELED in the restored program"
    ) in saved.fidelity
    for _ in range(3):
        restart = workshop.restart(saved.image, "--ids", "virtual")
        restart.send("copy")
        passed(restart.finish(), original.nonce)
    original.send()
    passed(original.finish(), original.nonce)
    if ids == "saved":
        restart = workshop.restart_as(ids, [original.pid], saved.image)
        restart.send("copy")
        passed(restart.finish(), original.nonce)


@pytest.mark.parametrize("ids", IDS)
def test_polled_by_the_kernel(workshop: Workshop, ids: str) -> None:
    """A ring with a thread of the kernel's (IORING_SETUP_SQPOLL)."""
    original = workshop.start_program("fd_rings", "polled")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    assert not any("io_uring" in line for line in saved.fidelity), saved.result.output
    original.kill()
    for _ in range(3):
        restart = workshop.restart_as(ids, [original.pid], saved.image)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert not notes(result), f"{result}"


def _elsewhere(ring: dict[str, Any]) -> None:
    ring["mappings"][0]["start"] += 1 << 24


def _no_such_file(ring: dict[str, Any]) -> None:
    ring["files"] = [99]


def _no_such_eventfd(ring: dict[str, Any]) -> None:
    ring["eventfd"] = 99


def _odd_size(ring: dict[str, Any]) -> None:
    ring["sq_entries"] = 3


@pytest.mark.parametrize("change", [_elsewhere, _no_such_file, _no_such_eventfd, _odd_size])
def test_forged(workshop: Workshop, change: Callable[[dict[str, Any]], None]) -> None:
    """Nothing is mapped over other memory, and nothing runs."""
    forgery = Forgery(workshop.save(workshop.start_program("fd_rings", "idle").pid).image)
    change(_ring_of(forgery))
    assert "damaged" in workshop.refused(forgery.write(workshop.new_image()))


def test_forged_context(workshop: Workshop) -> None:
    forgery = Forgery(workshop.save(workshop.start_program("fd_rings", "aio_idle").pid).image)
    forgery.process["aio"][0]["id"] += 1 << 24
    assert "damaged" in workshop.refused(forgery.write(workshop.new_image()))


def _ring_of(forgery: Forgery) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = [
        each["details"]
        for each in forgery.shared["descriptions"]
        if each["kind"] == "io_uring"
    ]
    return found


def test_other_layout(workshop: Workshop) -> None:
    """As of another kernel: it is said, and the program goes on without the ring."""
    original = workshop.start_program("fd_rings", "idle")
    forgery = Forgery(workshop.save(original.pid).image)
    _ring_of(forgery)["layout"][0] += 128
    restart = workshop.restart(forgery.write(workshop.new_image()))
    restart.send()
    (note,) = notes(restart.finish())
    assert note.startswith(
        "fd 3: anon_inode:[io_uring] cannot be made again: "
        "this kernel lays its memory out otherwise"
    ), note


# Runs its arguments where io_uring_setup, and nothing else,
# fails with ENOSYS: as containers have it.
REFUSED = """
import ctypes, os, struct, sys
steps = ((0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x50000 | 38), (0x06, 0, 0, 0x7FFF0000))
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = struct.pack("H6xP", len(steps), ctypes.addressof(code))
prctl = ctypes.CDLL(None, use_errno=True).prctl
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_where_there_is_none(workshop: Workshop) -> None:
    original = workshop.start_program("fd_rings", "idle")
    saved = workshop.save(original.pid)
    original.kill()
    restart = workshop.start(
        ["/usr/bin/python3", "-c", REFUSED, *workshop.restart_command(saved.image)]
    )
    restart.send()
    said = notes(restart.finish())
    expected = (
        "fd 3: anon_inode:[io_uring] cannot be made again: io_uring_setup: "
        "Function not implemented (ENOSYS)"
    )
    assert [note for note in said if "io_uring" in note] == [expected], said
