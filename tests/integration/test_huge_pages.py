"""Memory of huge pages (hugetlbfs) comes back with huge pages when there are free ones, else with
ordinary ones, which is said.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import IDS, Way, Workshop, full, notes, passed, restored_pid

# Subject -> what it is called in the report and in the notes,
# and how many huge pages the restored program holds.
SUBJECTS = {
    "file": ("fd 3", 3),
    "mapped": ("fd 3", 5),
    "closed": ("memory 0x", 5),
    "sealed": ("fd 3", 3),
    "unreserved": ("fd 3", 4),
    "anonymous": ("memory 0x", 1),
    "anonymous_unreserved": ("memory 0x", 3),
    "shared": ("memory 0x", 3),
    "shared_parts": ("memory 0x", 3),
}
# These come back without huge pages always: the kernel has no call that makes them again.
NEVER = {"shared_rest": "memory 0x", "system_v": "System V shared memory "}
FILE_PAGES = 3
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")


class Pool:
    """The machine's huge pages. Nobody else may have a say about them meanwhile."""

    def _number(self, name: str) -> int:
        return int((POOL / name).read_text())

    def set_free(self, pages: int) -> None:
        """Have this many for whoever asks next; skips the test when the
        machine has not got them.
        """
        in_use = (
            self._number("nr_hugepages")
            - self._number("free_hugepages")
            + self._number("resv_hugepages")
        )
        (POOL / "nr_hugepages").write_text(str(in_use + pages))
        free = self._number("free_hugepages") - self._number("resv_hugepages")
        if free != pages:
            pytest.skip(f"{free} huge pages can be made free on this machine, not {pages}")


@pytest.fixture
def pool() -> Iterator[Pool]:
    """The pool, for this test alone among all that run at a time;
    as it was when the test is over.
    """
    settings = [POOL / "nr_hugepages", POOL / "nr_overcommit_hugepages"]
    try:
        lock = os.open(POOL, os.O_RDONLY)
    except OSError as error:
        pytest.skip(f"the kernel has no huge pages of 2 MiB: {error}")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            before = [path.read_text() for path in settings]
            for path, text in zip(settings, before):
                path.write_text(text)
        except OSError as error:
            pytest.skip(f"how many huge pages there are cannot be set: {error}")
        try:
            settings[1].write_text("0")
            yield Pool()
        finally:
            for path, text in zip(settings, before):
                path.write_text(text)
    finally:
        os.close(lock)


# What is free at the restore. Of three, those of the file can be had,
# and those of a private mapping of it cannot.
FREE = {"enough": 0, "none": 0, "of_the_file": FILE_PAGES}
HAS_MORE_THAN_FILE = ("mapped", "closed", "unreserved")
EACH = [
    (subject, free)
    for subject in (*SUBJECTS, *NEVER)
    for free in FREE
    if free != "of_the_file" or subject in HAS_MORE_THAN_FILE
]


def test_the_list_is_complete(workshop: Workshop) -> None:
    listed = workshop.start([workshop.program("memfd_hugetlb"), "--list"]).finish().output.split()
    assert listed == [*SUBJECTS, *NEVER]


@pytest.mark.parametrize("subject", [*SUBJECTS, *NEVER])
def test_alone(workshop: Workshop, pool: Pool, subject: str) -> None:
    """The test itself is right: the program passes without any checkpoint, and after a save."""
    pool.set_free(8)
    for save in (False, True):
        running = workshop.start_program("memfd_hugetlb", subject)
        if save:
            oracle.wait_asleep(running.pid)
            workshop.save(running.pid)
        running.send()
        passed(running.finish(), running.nonce)


@pytest.mark.parametrize("way", full(threads=(1,), ids=IDS), ids=str)
@pytest.mark.parametrize(("subject", "free"), EACH)
def test_restored(workshop: Workshop, pool: Pool, subject: str, way: Way, free: str) -> None:
    pool.set_free(8)
    original = workshop.start_program("memfd_hugetlb", subject, way=way)
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid)
    oracle.wait_asleep(original.pid)
    assert not oracle.differences(before, oracle.look(original.pid, workshop.register_dump))

    said = [line for line in saved.fidelity if "huge pages" in line]
    assert len(said) == 1 and len(saved.fidelity) <= 5, saved.result.output
    if subject in NEVER:
        assert (
            said[0].startswith(f"changed: {NEVER[subject]}")
            and "comes back without huge pages" in said[0]
        ), said
    else:
        assert said[0].startswith(f"note: {SUBJECTS[subject][0]}"), said
        assert said[0].endswith(
            "comes back with ordinary pages if no huge pages are free then"
        ), said

    tids = [thread.tid for thread in before.threads]
    original.kill()
    enough = SUBJECTS[subject][1] if subject in SUBJECTS else 0
    ordinary = subject in NEVER or free != "enough"
    for _ in range(2):
        pool.set_free(enough if free == "enough" else FREE[free])
        restart = workshop.restart_as(way.ids, tids, saved.image)
        pid = restored_pid(restart, before)
        # The kernel's name of the object, and of the pages, is that of ordinary memory then.
        changed = oracle.differences(
            before,
            oracle.look(pid, workshop.register_dump),
            ignore=frozenset({"maps"}) if ordinary else frozenset(),
        )
        assert not changed, "the restored program differs:\n" + "\n".join(changed)
        # Whatever the program could touch before, it can touch now,
        # without another page from the pool.
        pool.set_free(0)
        restart.send("ordinary" if ordinary else "huge")
        result = restart.finish()
        passed(result, original.nonce)
        said = notes(result)
        if subject in NEVER or free == "enough":
            assert not said, f"{result}"
        else:
            what = (
                "memory 0x"
                if subject.startswith(("anonymous", "shared"))
                else "/memfd:of-huge-pages"
            )
            assert len(said) == 1 and said[0].startswith(what), f"{result}"
            assert (
                "has ordinary pages, because not enough huge pages of 2048 kB are free: " in said[0]
            ), f"{result}"


def test_the_size_is_kept(workshop: Workshop, pool: Pool) -> None:
    """A second snapshot, of the restored program, is as good as the first."""
    pool.set_free(5)
    original = workshop.start_program("memfd_hugetlb", "mapped")
    oracle.wait_asleep(original.pid)
    first = workshop.save(original.pid)
    original.kill()
    restart = workshop.restart(first.image)
    second = workshop.save(restored_pid(restart))
    restart.kill()
    again = workshop.restart(second.image)
    again.send()
    result = again.finish()
    passed(result, original.nonce)
    assert not notes(result), f"{result}"
