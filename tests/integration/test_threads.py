"""Every pthread call goes on working after a restore, whatever ids the kernel gives.
The programs check themselves.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest
from support import hand_over, oracle
from support.checkpoint import (
    IDS,
    VARIANTS,
    Way,
    Workshop,
    notes,
    pairwise,
    passed,
    record_of,
    restored_pid,
    round_trip,
    wait_ids_free,
)
from support.processes import Running, as_root, read_text, state_of, threads_of, wait_until

EVERYWHERE = """
    thr_calls thr_cancel thr_owners thr_lookalikes thr_family thr_sync thr_many thr_cxx
    thr_main_exits thr_handles thr_stdio thr_clocks thr_waits thr_cleanup thr_odds thr_kept
    thr_interrupted thr_reach
""".split()
PROGRAMS = [*EVERYWHERE, "thr_openmp", "thr_setxid", "thr_remembered", "thr_loader", "thr_typed"]
SHARED_ONLY = {
    "thr_openmp": "libgomp is a shared library",
    "thr_loader": "dlopen() needs the dynamic linker",
}
WAYS = [pytest.param(way, id=str(way)) for way in pairwise(threads=(1,))]
VIRTUAL = [
    pytest.param(
        Way(variant, 1, randomised, "virtual"),
        id=f"{variant.lstrip('.') or 'pie'}-{'aslr' if randomised else 'fixed'}",
    )
    for variant in VARIANTS
    for randomised in (True, False)
]
# These compute while they are saved, so there is no moment at which two looks must be the same; one
# waits in a call with an id among its arguments.
BUSY = {"thr_cancel", "thr_openmp", "thr_clocks"}
# A thread in pthread_join(), or at a robust mutex, sleeps on another's id in memory, which has
# become another: it looks again. That leaves traces in registers and on its stack.
LOOKING_AGAIN = {"thr_main_exits", "thr_waits", "thr_cleanup", "thr_kept"}


@contextmanager
def decoys(workshop: Workshop, tids: list[int]) -> Iterator[None]:
    """As root: processes that have the ids and count what reaches them. Nothing may."""
    if not as_root():
        yield
        return
    deadline = monotonic() + 60
    while monotonic() < deadline:
        decoy = workshop.start([workshop.program("thr_decoy"), *map(str, tids)])
        try:
            decoy.ready()
            break
        except AssertionError:
            # Somebody has taken one of the ids since the program ended:
            # try again, he may end as well.
            if "SKIP" not in decoy.transcript():
                raise
    else:
        raise AssertionError(f"the ids {tids} are not to be had")
    yield
    decoy.send()
    passed(decoy.finish(), decoy.nonce)


def _start(workshop: Workshop, name: str, way: Way) -> Running:
    return workshop.start_program(
        name, way=way, environment={"OMP_NUM_THREADS": "4", "OMP_WAIT_POLICY": "passive"}
    )


def _ends_well(running: Running, nonce: str) -> None:
    running.send()
    result = running.finish()
    passed(result, nonce)
    assert not result.errors, f"{result}"


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_alone(workshop: Workshop, name: str, variant: str) -> None:
    """The test itself is right: the program passes without any checkpoint."""
    if variant == ".static" and name in SHARED_ONLY:
        pytest.skip(SHARED_ONLY[name])
    running = _start(workshop, name, Way(variant))
    _ends_well(running, running.nonce)


def _round_trip(workshop: Workshop, name: str, way: Way) -> None:
    running = _start(workshop, name, way)
    look = None
    if name not in BUSY:
        oracle.wait_asleep(running.pid)
        look = oracle.look(running.pid, workshop.register_dump)
    tids = threads_of(running.pid)
    saved = workshop.save(running.pid)
    # The original lives and runs while the first one is restored; ids are free for the others.
    if way.ids != "saved":
        first = workshop.restart(saved.image, "--ids", way.ids)
        _ends_well(first, running.nonce)
    _ends_well(running, running.nonce)
    for _ in range(2):
        if way.ids == "virtual":
            with decoys(workshop, tids):
                restart = workshop.restart(saved.image, "--ids", "virtual")
                if look:
                    now = oracle.look(restored_pid(restart, look), workshop.register_dump)
                    ignored = frozenset({"memory", "registers"} if name in LOOKING_AGAIN else ())
                    changed = oracle.differences(look, now, ignore=ignored)
                    assert not changed, "the restored program differs:\n" + "\n".join(changed)
                _ends_well(restart, running.nonce)
        else:
            _ends_well(workshop.restart_as(way.ids, tids, saved.image), running.nonce)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", EVERYWHERE)
def test_restore(workshop: Workshop, name: str, way: Way) -> None:
    _round_trip(workshop, name, way)


@pytest.mark.parametrize("way", VIRTUAL)
def test_remembered_ids(workshop: Workshop, way: Way) -> None:
    """What the program stored before the save is good after it, and reaches nobody else."""
    _round_trip(workshop, "thr_remembered", way)


@pytest.mark.parametrize("ids", ["virtual", "auto"])
def test_openmp(workshop: Workshop, ids: str) -> None:
    _round_trip(workshop, "thr_openmp", Way(ids=ids))


@pytest.mark.parametrize(
    "way", [pytest.param(way, id=str(way)) for way in pairwise(VARIANTS[:2], (1,))]
)
def test_inside_the_dynamic_linker(workshop: Workshop, way: Way) -> None:
    """The dynamic linker's own locks, held by a thread whose library is being loaded."""
    _round_trip(workshop, "thr_loader", way)


@pytest.mark.parametrize("way", WAYS)
def test_setxid(workshop: Workshop, way: Way) -> None:
    _round_trip(workshop, "thr_setxid", way)


@pytest.mark.parametrize("way", VIRTUAL)
@pytest.mark.parametrize("name", ["thr_owners", "thr_remembered", "thr_many", "thr_sync"])
def test_three_generations(workshop: Workshop, name: str, way: Way) -> None:
    """A restored program is saved and restored, and that one again;
    each has new ids, and none sees any of it.
    """
    original = _start(workshop, name, way)
    oracle.wait_asleep(original.pid)
    look = oracle.look(original.pid, workshop.register_dump)
    image = workshop.save(original.pid).image
    images = [image]
    lives = [original]
    for _ in range(2):
        restart = workshop.restart(image, "--ids", "virtual")
        pid = restored_pid(restart, look)
        image = workshop.save(pid).image
        images.append(image)
        lives.append(restart)
    last = workshop.restart(image, "--ids", "virtual")
    changed = oracle.differences(
        look, oracle.look(restored_pid(last, look), workshop.register_dump)
    )
    assert not changed, "the last generation differs:\n" + "\n".join(changed)
    for running in [*lives, last]:
        _ends_well(running, original.nonce)
    if as_root():
        # With the ids free, a late generation gets those of the first one,
        # and needs no translation.
        back = workshop.restart(image, "--ids", "auto")
        _ends_well(back, original.nonce)


@pytest.mark.parametrize("variant", VARIANTS)
def test_handles(workshop: Workshop, variant: str) -> None:
    """libthread_db knows pthread_t of every thread,
    also where new ids have come into struct pthread.
    """
    way = Way(variant)
    original = _start(workshop, "thr_handles", way)
    wanted = dict(original.expect("THREAD ").split() for _ in range(5))
    oracle.wait_asleep(original.pid)
    look = oracle.look(original.pid, workshop.register_dump)
    images = [workshop.save(original.pid).image]
    restart = workshop.restart(images[0], "--ids", "virtual")
    images.append(workshop.save(restored_pid(restart, look)).image)
    for image in images:
        threads = record_of(workshop.build, image)["threads"]
        assert {str(thread["remembered"]): hex(thread["pthread"]) for thread in threads} == wanted
    for running in (original, restart):
        _ends_well(running, original.nonce)


@pytest.mark.parametrize("name", ["thr_owners", "thr_remembered", "thr_many"])
def test_two_at_once(workshop: Workshop, name: str) -> None:
    """Two restores of one snapshot live at the same time, beside the original."""
    original = _start(workshop, name, Way())
    oracle.wait_asleep(original.pid)
    look = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid)
    both = [workshop.restart(saved.image) for _ in range(2)]
    pids = [restored_pid(each, look) for each in both]
    assert len({original.pid, *pids}) == 3
    for running in (*both, original):
        _ends_well(running, original.nonce)


@pytest.mark.skipif(not as_root(), reason="only root may choose ids")
def test_no_thread_shows_an_id_that_another_is_remembered_by(workshop: Workshop) -> None:
    """A new thread whose kernel id equals an id that the program remembers shows another one."""
    running = workshop.start_program("thr_alias")
    tids = threads_of(running.pid)
    oracle.wait_asleep(running.pid)
    look = oracle.look(running.pid, workshop.register_dump)
    saved = workshop.save(running.pid)
    _ends_well(running, running.nonce)
    for _ in range(20):
        restart = workshop.restart(saved.image, "--ids", "virtual")
        pid = restored_pid(restart, look)
        assert not set(threads_of(pid)) & set(tids)
        # It makes threads with chosen ids: those that it had itself.
        restart.send()
        result = restart.finish()
        if "File exists" not in result.output:  # else somebody has taken one meanwhile
            break
    passed(result, running.nonce)


def test_stripped_static_program(workshop: Workshop) -> None:
    """Without symbols there is no boundary to translate at:
    the save says so, and so does the restore.
    """
    stripped = workshop.directory / "stripped"
    shutil.copy(workshop.program("thr_owners", ".static"), stripped)
    subprocess.run(["strip", stripped], check=True)
    running = workshop.start([stripped])
    running.ready()
    oracle.wait_asleep(running.pid)
    saved = workshop.save(running.pid)
    assert any(
        "it is statically linked, and no C library with symbols was found" in line
        for line in saved.fidelity
    ), saved.fidelity
    _ends_well(running, running.nonce)
    restart = workshop.restart(saved.image, "--ids", "virtual")
    restart.send()
    result = restart.finish()
    # Held locks do not need symbols: they are found by their structure.
    passed(result, running.nonce)
    assert "new ids: a statically linked program without symbols: " in result.errors, f"{result}"


def test_stress(workshop: Workshop) -> None:
    """Many restores of one program with all kinds of held locks."""
    running = _start(workshop, "thr_owners", Way())
    saved = workshop.save(running.pid)
    _ends_well(running, running.nonce)
    for _ in range(100):
        _ends_well(workshop.restart(saved.image, "--ids", "virtual"), running.nonce)


@pytest.mark.parametrize("round_", range(5))
def test_saved_while_locking(workshop: Workshop, round_: int) -> None:
    """Threads that take and give locks all the time are saved in the
    middle of it, wherever that is.
    """
    running = workshop.start_program("thr_hammer")
    images = [workshop.save(running.pid).image for _ in range(10)]
    _ends_well(running, running.nonce)
    for image in images:
        _ends_well(workshop.restart(image, "--ids", "virtual"), running.nonce)


@pytest.mark.parametrize("way", WAYS)
def test_main_thread_that_has_ended(workshop: Workshop, way: Way) -> None:
    """The main thread ended before the save: it has ended after the restore,
    and the others go on; three generations.
    """
    running = workshop.start_program("zombie_leader", way=way)
    tids = threads_of(running.pid)
    oracle.wait_asleep(running.pid)
    assert state_of(running.pid) == "Z"
    saved = workshop.save(running.pid)
    _ends_well(running, running.nonce)
    if way.ids == "saved":
        wait_ids_free(tids)
    restart = workshop.restart(saved.image, "--ids", way.ids)

    def child() -> int:
        return int(read_text(f"/proc/{restart.pid}/task/{restart.pid}/children") or 0)

    def as_before() -> bool:
        return state_of(child()) == "Z" and oracle.all_asleep(child())

    wait_until(as_before, lambda: f"the main thread ends again\n{restart.transcript()}")
    pid = child()
    again = workshop.save(pid)
    _ends_well(restart, running.nonce)
    _ends_well(workshop.restart(again.image, "--ids", "virtual"), running.nonce)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_thread_that_the_debugger_has_not_heard_of(
    workshop: Workshop, native_module: Path, variant: str
) -> None:
    """It is stopped before its first instruction, and its maker inside clone."""
    original = workshop.start_program("thr_newborn", way=Way(variant))
    image = workshop.new_image()
    script = Path(hand_over.__file__).with_name("newborn.py")
    debugger = workshop.start(
        ["/usr/bin/python3", script, native_module, str(original.pid), image, workshop.store]
    )
    debugger.expect("ATTACHED")
    original.send()
    tids = [int(tid) for tid in debugger.expect("SAVED ").split()]
    assert debugger.finish().status == 0
    passed(original.finish(), original.nonce)
    for ids in IDS:
        passed(workshop.restart_as(ids, tids, image).finish(), original.nonce)


@pytest.mark.parametrize("way", WAYS)
def test_a_place_of_its_own(workshop: Workshop, way: Way) -> None:
    """A thread that does not share the working directory and the umask keeps
    them, and the others theirs.
    """
    saved = round_trip(workshop, "thr_place", "fs", way=way)
    assert not any("thread" in line for line in saved.fidelity), saved.result.output


def test_places_without_a_main_thread(workshop: Workshop) -> None:
    """It has none any more: the others share theirs with each other."""
    original = workshop.start_program("thr_place", "ended")
    saved = workshop.save(original.pid)
    assert not any("thread" in line for line in saved.fidelity), saved.result.output
    original.send()
    passed(original.finish(), original.nonce)
    restart = workshop.restart(saved.image)
    restart.send()
    passed(restart.finish(), original.nonce)


def test_a_place_that_is_gone(workshop: Workshop) -> None:
    """The thread is where the main thread is, and that is said."""
    original = workshop.start_program("thr_place", "gone")
    saved = workshop.save(original.pid)
    original.kill()
    (workshop.directory / "gone").rmdir()
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    (said,) = notes(result)
    assert f"its working directory {workshop.directory}/gone cannot be entered" in said
    assert said.endswith("it is in that of the main thread")


@pytest.mark.skipif(not as_root(), reason="needs root")
def test_a_namespace_of_its_own(workshop: Workshop) -> None:
    """Named: the thread is in the others' then."""
    original = workshop.start_program("thr_place", "names")
    saved = workshop.save(original.pid)
    original.kill()
    (said,) = [line for line in saved.fidelity if "thread" in line]
    assert said.startswith("changed: thread ")
    assert "it is in namespaces of its own (uts): it comes back in those of the others" in said
    restart = workshop.restart(saved.image)
    restart.send()
    passed(restart.finish(), original.nonce)


def test_descriptors_of_its_own(workshop: Workshop) -> None:
    """Named: the thread has the others' then."""
    original = workshop.start_program("thr_place", "files")
    saved = workshop.save(original.pid)
    (said,) = [line for line in saved.fidelity if "thread" in line]
    assert said.startswith("lost: thread ") and "its own table of descriptors" in said, said
    original.send()
    passed(original.finish(), original.nonce)
    restart = workshop.restart(saved.image)
    restart.send()
    passed(restart.finish(), original.nonce)
