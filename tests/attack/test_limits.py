"""Savers that lack what they need: space, descriptors, memory, threads. Each says so in one line;
the program goes on, and the store is as it was. And restorers that may start no threads or
processes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.attack import TIMES, Ordinary
from support.checkpoint import Workshop, passed
from support.processes import Running, as_root, everybody, let_go, wait_until

pytestmark = pytest.mark.timeout(400 * TIMES)


def everything_in(store: Path) -> set[tuple[str, int]]:
    """The files of a store, with their sizes."""
    return {
        (str(path.relative_to(store)), path.stat().st_size)
        for path in store.rglob("*")
        if path.is_file()
    }


def failure(
    workshop: Workshop, running: Running, store: Path, *, stack: bool = False, **more: Any
) -> str | None:
    """What a save that may fail says of that; None if it did not. If it did, nothing is there that
    was not there before. `stack`: it has little of it.
    """
    before = everything_in(store) if store.exists() else set()
    image = workshop.new_image()
    saved = workshop.try_save(running.pid, image, "--store", store, **more)
    let_go(running.pid)
    if saved.result.status == 0:
        image.unlink()
        return None
    assert not image.exists()
    if saved.result.status == -signal.SIGSEGV and stack:
        return ""  # the kernel has ended it, for lack of a stack: it could take nothing back
    # What the dynamic linker says when it has not even begun.
    assert saved.result.status == 1 or saved.result.status == 127, f"{saved.result}"
    assert len(saved.result.errors.splitlines()) == 1, f"{saved.result}"
    assert (everything_in(store) if store.exists() else set()) == before
    return saved.result.errors


def fails_cleanly(workshop: Workshop, running: Running, store: Path, **more: Any) -> bool:
    """Whether a save that may fail did."""
    return failure(workshop, running, store, **more) is not None


@pytest.fixture
def running(workshop: Workshop) -> Iterator[Running]:
    """A program in a storm, which must come out of it whole."""
    made = workshop.start_program("storm")
    yield made
    made.send()
    passed(made.finish(), made.nonce)


# Of each the values with which a save is in the midst of something when it ends.
LIMITS = {
    "FSIZE": (0, 1000, 5_000, 20_000, 100_000, 200_000, 1_000_000),
    "NOFILE": (3, 4, 5, 6, 7, 8, 9, 10, 12, 16),
    "AS": tuple(megabytes << 20 for megabytes in (16, 20, 24, 28, 32, 40)),
    "DATA": tuple(kilobytes << 10 for kilobytes in (200, 500, 1000, 2000, 4000)),
    "NPROC": (0, 1),
    "STACK": (16 << 10, 64 << 10),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit(workshop: Workshop, running: Running, name: str) -> None:
    which = getattr(resource, f"RLIMIT_{name}")
    failed = 0
    for number, value in enumerate(LIMITS[name]):

        def limit(value: int = value) -> None:
            resource.setrlimit(which, (value, value))

        store = workshop.directory / f"store-{number}"
        failed += fails_cleanly(workshop, running, store, before_exec=limit, stack=name == "STACK")
    print(f"{failed} of {len(LIMITS[name])} failed")


def small_disk(place: Path, size_kib: int) -> None:
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "none", place],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")


@pytest.mark.skipif(not as_root(), reason="only root may mount a small file system")
def test_full_disks(workshop: Workshop, running: Running) -> None:
    """The objects fit, one after the other, and then the next does not: none stays."""
    failed = 0
    for size_kib in (16, 100, 300, 1000, 1800, 2400, 4000):
        place = workshop.directory / f"disk-{size_kib}"
        small_disk(place, size_kib)
        try:
            line = failure(workshop, running, place / "store")
        finally:
            subprocess.run(["umount", place], check=True)
        if line is not None:
            assert str(place) in line and "(ENOSPC): make room there" in line, line
            failed += 1
    assert failed > 3


def mounted(*words: str | Path) -> str:
    """Why it cannot be mounted, "" if it is."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    return done.stderr.strip().splitlines()[0] if done.returncode else ""


@contextlib.contextmanager
def quota(place: Path, user: int, kib: int) -> Iterator[Path]:
    """A directory of the user's, who may not fill more of it: of a tmpfs (since Linux 6.6) or,
    where that knows no quotas, of a btrfs in a file.
    """
    place.mkdir()
    options = f"size=100m,usrquota,usrquota_block_hardlimit={kib}k"
    reasons = mounted("-t", "tmpfs", "-o", options, "none", place)
    directory = place
    if reasons and not shutil.which("mkfs.btrfs"):
        pytest.skip(f"no file system with a quota: tmpfs: {reasons}; no mkfs.btrfs")
    if reasons:
        content = place.with_suffix(".btrfs")
        with open(content, "wb") as stream:
            stream.truncate(200 << 20)
        subprocess.run(["mkfs.btrfs", "-q", content], check=True, capture_output=True)
        if reason := mounted("-o", "loop", content, place):
            pytest.skip(f"no file system with a quota: tmpfs: {reasons}; btrfs: {reason}")
    try:
        if reasons:
            directory = place / "limited"
            steps: list[list[str | Path]] = [
                ["quota", "enable", place], ["subvolume", "create", directory],
                ["qgroup", "limit", f"{kib}K", directory]
            ]  # fmt: skip
            for words in steps:
                subprocess.run(["btrfs", *words], check=True, capture_output=True)
        os.chown(directory, user, user)
        yield directory
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.skipif(not as_root(), reason="only root may mount a file system with a quota")
def test_quotas(ordinary: Ordinary) -> None:
    """As on a full disk; but it is the user's share that is used up."""
    workshop, user = ordinary.workshop, ordinary.user
    assert user is not None
    running = workshop.start_program("storm", user=user)
    failed = 0
    for kib in (100, 400, 1000, 1800, 2400, 20_000):
        with quota(workshop.directory / f"quota-{kib}", user, kib) as place:
            line = failure(workshop, running, place / "store", user=user)
        if line is not None:
            assert str(place) in line and "(EDQUOT): make room there" in line, line
            failed += 1
    assert 3 < failed < 6
    running.send()
    passed(running.finish(), running.nonce)


@pytest.mark.skipif(not as_root(), reason="only root may mount a small file system")
def test_objects_of_others_stay(workshop: Workshop, running: Running) -> None:
    """Those that were there, or that another snapshot needs which has been saved meanwhile;
    and all while somebody saves.
    """
    import fcntl

    place = workshop.directory / "disk"
    small_disk(place, 8000)
    try:
        store = place / "store"
        quiet = workshop.start_program("threads", "2")
        workshop.save(quiet.pid, place / "kept.ckpt", "--store", store)
        kept = everything_in(store)
        # So that the next content does not fit any more.
        free = os.statvfs(place)
        (place / "filler").write_bytes(b"x" * (free.f_bavail * free.f_frsize - (32 << 10)))
        assert fails_cleanly(workshop, running, store)
        assert everything_in(store) == kept
        # Somebody else may have found them there.
        (place / "filler").unlink()
        directory = os.open(store, os.O_RDONLY)
        fcntl.flock(directory, fcntl.LOCK_SH)
        saved = workshop.try_save(
            running.pid,
            place / "more.ckpt",
            "--store",
            store,
            environment={"CKPT_FAULT": "save-publish"},
        )
        assert saved.result.status == 1, f"{saved.result}"
        os.close(directory)
        left = everything_in(store)
        assert left > kept
        # The next collection takes them.
        environment = {**os.environ, "CKPT_DIR": str(store)}
        subprocess.run(
            [workshop.build / "bin" / "ckpt", "gc"],
            env=environment,
            check=True,
            capture_output=True,
        )
        assert {row for row in everything_in(store) if row[0].startswith("objects/")} == {
            row for row in kept if row[0].startswith("objects/")
        }
        quiet.send()
        passed(quiet.finish(), quiet.nonce)
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize(
    "fault",
    [
        "save-map", "save-threads", "save-files", "save-objects", "save-memory", "save-record",
        "save-publish",
    ],
)  # fmt: skip
def test_whatever_fails(workshop: Workshop, running: Running, fault: str) -> None:
    store = workshop.directory / "store-of-its-own"
    workshop.environment["CKPT_FAULT"] = fault
    assert fails_cleanly(workshop, running, store)
    del workshop.environment["CKPT_FAULT"]
    assert not fails_cleanly(workshop, running, store)


@pytest.mark.skipif(as_root(), reason="root may write where there is no permission")
def test_a_store_that_may_not_be_written_to(workshop: Workshop, running: Running) -> None:
    store = workshop.directory / "locked"
    assert not fails_cleanly(workshop, running, store)
    shutil.rmtree(store / "objects")
    (store / "objects").mkdir(mode=0o500)
    assert fails_cleanly(workshop, running, store)
    (store / "objects").chmod(0o700)


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A control group with 3 MiB of memory."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    group = (
        Path("/sys/fs/cgroup" if unified else "/sys/fs/cgroup/memory")
        / f"ckpt-attack-{os.getpid()}"
    )
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be had: {error}")
    try:
        limit = group / ("memory.max" if unified else "memory.limit_in_bytes")
        if not limit.exists():
            pytest.skip("no control group for memory can be had")
        limit.write_text(str(3 << 20))
        yield group
    finally:

        def removed() -> bool:
            try:
                group.rmdir()
            except OSError as error:
                return error.errno == errno.ENOENT
            return True

        wait_until(removed, "the control group is empty")


def test_memory_cgroup(workshop: Workshop, running: Running, memory_group: Path) -> None:
    """The kernel kills a saver that has no more memory, in the midst of it: the program goes on."""
    saver = workshop.start(
        workshop.save_command(running.pid, workshop.new_image()),
        before_exec=lambda: (memory_group / "cgroup.procs").write_text(str(os.getpid())),
    )
    status = saver.finish().status
    assert status in (0, 1, -signal.SIGKILL), status
    print(f"status {status}")
    let_go(running.pid)


@pytest.mark.parametrize("variant", ["", ".static"], ids=["pie", "static"])
def test_a_full_table_of_descriptors(workshop: Workshop, variant: str) -> None:
    """Of the program that is saved: nothing of ours needs one there. It is restored with all of
    them by who may have more, and refused by who may not.
    """
    most = 1024

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    running = workshop.start(
        [workshop.program("fd_full", variant), str(most)], environment={"CKPT_TEST_THREADS": "3"}
    )
    running.ready()
    saved = workshop.save(running.pid)
    assert len(os.listdir(f"/proc/{running.pid}/fd")) == most
    running.send()
    passed(running.finish(), running.nonce)
    for _ in range(2):
        restart = workshop.restart(saved.image)
        restart.send()
        passed(restart.finish(), running.nonce)
    line = workshop.refused(saved.image, before_exec=limited)
    assert "too many open files" in line and "RLIMIT_NOFILE" in line, line


def tasks_of_user(user: int) -> int:
    """How many threads there are of all processes of a user: what RLIMIT_NPROC limits."""
    count = 0
    for pid in everybody():
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == user:
                count += len(os.listdir(f"/proc/{pid}/task"))
    return count


def test_no_more_processes(ordinary: Ordinary) -> None:
    """A saver needs none; a restorer makes those of the program or says so."""
    workshop, user = ordinary.workshop, ordinary.user

    def at_most(count: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_NPROC, (count, count))

    # So large that several threads write it and check it, where there are several.
    running = workshop.start_program(
        "large", "40", user=user, environment={"CKPT_TEST_THREADS": "3"}
    )
    saved = workshop.save(running.pid, before_exec=at_most(0), user=user)
    running.send()
    passed(running.finish(), running.nonce)
    others = tasks_of_user(os.getuid() if user is None else user)
    refused = 0
    for count in (0, *range(others, others + 7), others + 1000):
        restart = workshop.restart(saved.image, before_exec=at_most(count), user=user)
        restart.send(may_have_ended=True)
        result = restart.finish()
        if result.status != 125:
            passed(result, running.nonce)
            # It has three threads, and the restorer is there, too. Of one's own processes others
            # may have ended meanwhile.
            assert user is None or count > others + 3
            continue
        assert not result.output and len(result.errors.splitlines()) == 1, f"{result}"
        said = (
            r"ckpt-restart: create a (process|thread): .*\(EAGAIN\): the user may have no more .*\n"
        )
        assert re.fullmatch(said, result.errors), f"{result}"
        assert count < others + 1000, f"{result}"
        refused += 1
    assert refused
