"""Each kind of state, by one program each: set up, saved, gone on without noticing, restored
without noticing.

The programs check themselves (tests/programs); from outside the oracle compares mappings, memory,
registers, signal state and descriptors before the save, after it, and after each restore.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import (
    VARIANTS,
    Way,
    Workshop,
    full,
    pairwise,
    passed,
    restored_pid,
    round_trip,
)
from support.processes import as_root

# The two that touch everything in combinations of all choices; the rest in pairs.
FULL = [pytest.param(way, id=str(way)) for way in full()]
PAIRS = [pytest.param(way, id=str(way)) for way in pairwise()]
# Programs that bring their own threads.
ONE = [pytest.param(way, id=str(way)) for way in pairwise(threads=(1,))]

each_way = pytest.mark.parametrize("way", PAIRS)
each_way_one = pytest.mark.parametrize("way", ONE)


@pytest.mark.ways(6)
@pytest.mark.parametrize("way", FULL)
def test_memory(workshop: Workshop, way: Way) -> None:
    saved = round_trip(workshop, "memory_digest", way=way)
    # It has filled 1.7 MiB; the rest of its memory is zeros (holes), or stands in its files.
    assert saved.image.stat().st_blocks * 512 < 2500 << 10


@pytest.mark.ways(6)
@pytest.mark.parametrize("way", FULL)
def test_proc_self(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "proc_self", way=way)


@pytest.mark.parametrize("count", [1, 4, 50])
@each_way_one
def test_threads(workshop: Workshop, way: Way, count: int) -> None:
    round_trip(workshop, "threads", str(count), way=way)


@pytest.mark.skipif(not as_root(), reason="the saved ids need privilege")
@pytest.mark.parametrize("variant", VARIANTS)
def test_locks(workshop: Workshop, variant: str) -> None:
    """Held locks name their owners by id: with the saved ids nothing needs to be moved."""
    round_trip(workshop, "locks", way=Way(variant, ids="saved"))


@each_way_one
def test_robust_list(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "robust_list", way=way)


@pytest.mark.skipif(not as_root(), reason="changes user ids")
@each_way_one
def test_change_of_user_reaches_every_thread(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "credentials", way=way)


@pytest.mark.parametrize("kind", ["gpr", "x87", "sse", "avx", "avx512"])
@each_way
def test_registers_across_a_call(workshop: Workshop, way: Way, kind: str) -> None:
    round_trip(workshop, "registers", kind, "block", way=way)


@pytest.mark.parametrize("kind", ["gpr", "x87", "sse", "avx", "avx512"])
@each_way
def test_registers_between_instructions(workshop: Workshop, way: Way, kind: str) -> None:
    round_trip(workshop, "registers", kind, "spin", way=way, watch=False)


@each_way
def test_amx_across_a_call(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "amx_tiles", "block", way=way)


@each_way
def test_amx_between_instructions(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "amx_tiles", "spin", way=way, watch=False)


@pytest.mark.parametrize("which", ["gs", "fs"])
@each_way
def test_segment_bases(workshop: Workshop, way: Way, which: str) -> None:
    round_trip(workshop, "segment_bases", which, way=way)


@each_way
def test_signal_handlers(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "signal_handlers", way=way)


@pytest.mark.parametrize("how", ["plain", "altstack", "nested", "fault", "siglongjmp"])
@each_way
def test_inside_a_handler(workshop: Workshop, way: Way, how: str) -> None:
    round_trip(workshop, "in_handler", how, way=way)


@each_way
def test_pending_signals(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "pending_signals", way=way)


@each_way
def test_rseq(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "rseq_registration", way=way, watch=False)


@each_way
def test_brk(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "brk", way=way)


@each_way
def test_stack(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "stack", way=way)


@pytest.mark.parametrize("how", ["pages", "install", "shared", "sealed", "growsdown"])
@each_way
def test_guards(workshop: Workshop, way: Way, how: str) -> None:
    round_trip(workshop, "guards", how, way=way)


def test_content_behind_a_guard(workshop: Workshop) -> None:
    """What cannot be read through the mapping is named, and is no reason not to save."""
    original = workshop.start_program("guards", "behind")
    saved = workshop.save(original.pid)
    original.kill()
    assert any(
        "shared memory: what it holds behind guard pages" in line for line in saved.fidelity
    ), saved.result.output
    restart = workshop.restart(saved.image)
    restart.send()
    passed(restart.finish(), original.nonce)


@each_way
def test_dontneed_gives_zeros(workshop: Workshop, way: Way) -> None:
    data = workshop.directory / "data"
    data.write_bytes(os.urandom(8192))
    round_trip(workshop, "dontneed", data, way=way)


@each_way
def test_advice(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "advice", way=way)


@each_way
def test_droppable_memory(workshop: Workshop, way: Way) -> None:
    """Comes back empty: no two restores go on with the same state of random
    numbers, and the image has none.
    """
    original = workshop.start_program("droppable", way=way)
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid)
    original.send()
    results = [original.finish()]
    for _ in range(2):
        restart = workshop.restart_as(
            way.ids, [thread.tid for thread in before.threads], saved.image
        )
        changed = oracle.differences(
            before, oracle.look(restored_pid(restart, before), workshop.register_dump)
        )
        assert not changed, "the restored program differs:\n" + "\n".join(changed)
        restart.send()
        results.append(restart.finish())
    numbers = set()
    for index, result in enumerate(results):
        passed(result, original.nonce)
        whole, number = re.findall(r"^(?:WHOLE|NUMBER) (\w+)$", result.output, re.MULTILINE)
        numbers.add(number)
        assert index == 0 or whole == "0", f"{result}"
    assert len(numbers) == len(results), f"random numbers come again: {numbers}"


@each_way
def test_protections(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "protections", way=way)


@pytest.mark.parametrize("how", ["once", "twice", "partial", "unmapped"])
@each_way
def test_shared_anonymous(workshop: Workshop, way: Way, how: str) -> None:
    round_trip(workshop, "shared_anonymous", how, way=way)


def test_private_mapping_of_shared_memory(workshop: Workshop) -> None:
    """Its pages that it has not written to are those of the shared
    memory, in a page table or not.
    """
    saved = round_trip(workshop, "shared_anonymous", "private", ignore={"maps"})
    assert (
        sum("shared memory: is mapped privately: " in line for line in saved.fidelity) == 1
    ), saved.fidelity


@pytest.mark.parametrize("how", ["once", "twice", "parts", "read_only", "kept", "keyed"])
@each_way
def test_system_v_shared_memory(workshop: Workshop, way: Way, how: str) -> None:
    """Its id can be chosen by root, or in a namespace, where a key needs one: anybody else is told
    of another id.
    """
    noted = r"ckpt-restart: note: System V shared memory \d+ has another id now: \d+\n"
    if how == "keyed":
        noted = r"ckpt-restart: note: the program's System V objects are its own, .*\n"
    saved = round_trip(
        workshop,
        "sysv_shm",
        how,
        way=way,
        ignore={"maps"} if how == "read_only" else (),  # it may be made writable then
        environment={"CKPT_TEST_SAME_ID": "1"} if as_root() else {},
        noted="" if as_root() and how != "keyed" else noted,
    )
    said = [line for line in saved.fidelity if "System V" in line]
    if how in ("kept", "keyed"):
        assert len(said) == 1, saved.result.output
        assert "comes back as a segment of this program alone" in said[0], saved.result.output
    else:
        assert said == [], saved.result.output


def test_system_v_shared_memory_of_several_processes(workshop: Workshop) -> None:
    """Each goes on with its own."""
    original = workshop.start_program("sysv_shm", "family")
    saved = workshop.save(original.pid)
    (line,) = [line for line in saved.fidelity if "System V" in line]
    assert "is shared with other processes: the program gets a segment of its own" in line
    restart = workshop.restart(saved.image, "--ids", "virtual")
    restored_pid(restart)
    for running in (restart, original):
        running.send()
        result = running.finish()
        passed(result, original.nonce)
        # The original has the number still.
        assert len(result.errors.splitlines()) == (1 if running is restart else 0), result


@each_way_one
def test_threads_that_come_and_go(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "churn", way=way, watch=False)


@each_way_one
def test_names_of_memory(workshop: Workshop, way: Way) -> None:
    saved = round_trip(workshop, "vma_names", way=way)
    assert not any("memory" in line for line in saved.fidelity), saved.result.output


@each_way_one
def test_computing(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "compute", "3", way=way, watch=False)


@each_way
def test_cpp_runtime(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "cpp_runtime", way=way)


@pytest.mark.parametrize(
    "name",
    [
        "cwd", "umask", "comm", "personality", "membarrier", "core_filter", "numa", "lock_future",
        "lock_on_fault",
    ],
)  # fmt: skip
@each_way
def test_attributes(workshop: Workshop, way: Way, name: str) -> None:
    directory = workshop.directory / "a directory"
    directory.mkdir()
    round_trip(
        workshop, "attributes", name, way=way, environment={"CKPT_TEST_DIRECTORY": str(directory)}
    )


@pytest.mark.parametrize(
    "name",
    [
        "nice", "realtime_nice", "affinity", "timerslack", "pdeathsig", "no_new_privs", "keepcaps",
        "subreaper", "thp_disable", "rlimit_nofile", "rlimit_stack", "rlimit_core", "oom_score_adj",
        "loginuid",
        "policy", "ioprio",
    ],
)  # fmt: skip
def test_other_attributes(workshop: Workshop, name: str) -> None:
    """Comes back, or is named in the fidelity report: never lost in silence."""
    original = workshop.start_program("attributes", name)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    if result.status:
        words = {
            "policy": "sched",
            "affinity": "cpu|affinity",
            "pdeathsig": "death",
            "subreaper": "reaper",
        }
        said = re.search(
            words.get(name, name.replace("_", ".?")), "\n".join(saved.fidelity), re.IGNORECASE
        )
        assert said, f"lost in silence: {result}\n{saved.result.output}"


# --- size and time --------------------------------------------------------------------------------


@each_way
def test_reservation_costs_nothing(workshop: Workshop, way: Way) -> None:
    saved = round_trip(workshop, "reservation", way=way)
    assert saved.image.stat().st_blocks * 512 < 2 << 20
    assert saved.image.stat().st_size < 1 << 30


@pytest.mark.parametrize("how", ["untouched", "zeros"])
def test_memory_without_content_takes_no_bytes(workshop: Workshop, how: str) -> None:
    saved = round_trip(workshop, "untouched", how, "1024", watch=False, restores=1)
    assert saved.image.stat().st_blocks * 512 < (1024 << 20) // 100


def test_much_memory(workshop: Workshop) -> None:
    saved = round_trip(workshop, "untouched", "random", "300", watch=False, restores=1)
    assert saved.image.stat().st_size >= 300 << 20


def test_small_program_makes_a_small_snapshot(workshop: Workshop) -> None:
    original = workshop.start_program("exit_status", "0")
    saved = workshop.save(original.pid)
    assert saved.image.stat().st_size < 2 << 20
    assert re.fullmatch(
        r"Saved .*: [0-9.]+ [KMG]i?B in [0-9.]+ s, 1 thread", saved.first_line
    ), saved.first_line


# --- ids ------------------------------------------------------------------------------------------


def test_while_the_original_runs_there_are_new_ids(workshop: Workshop) -> None:
    original = workshop.start_program("threads", "4")
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid)
    restarts = [workshop.restart(saved.image) for _ in range(3)]
    pids = [restored_pid(restart, before) for restart in restarts]
    assert len({*pids, original.pid}) == 4
    for restart, pid in zip(restarts, pids):
        changed = oracle.differences(before, oracle.look(pid, workshop.register_dump))
        assert not changed, "\n".join(changed)
    for running in [*restarts, original]:
        running.send()
        passed(running.finish(), original.nonce)


def test_saved_ids_in_use_are_refused(workshop: Workshop) -> None:
    original = workshop.start_program("threads", "4")
    saved = workshop.save(original.pid)
    line = workshop.refused(saved.image, "--ids", "saved")
    assert re.search(r"\bid|pid|in use|privilege|permi", line), line
    original.send()
    passed(original.finish(), original.nonce)


@pytest.mark.skipif(as_root(), reason="root is granted the saved ids")
def test_saved_ids_without_privilege_are_refused(workshop: Workshop) -> None:
    original = workshop.start_program("exit_status", "0")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    workshop.refused(saved.image, "--ids", "saved")


# --- again and again ------------------------------------------------------------------------------


def test_a_hundred_restores(workshop: Workshop) -> None:
    original = workshop.start_program("threads", "4")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    for number in range(100):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        assert (
            result.status == 0 and result.output == f"PASS {original.nonce}\n"
        ), f"restore {number}: {result}"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("name", "arguments"), [("compute", ["3"]), ("churn", []), ("cpp_runtime", [])]
)
def test_a_hundred_saves_do_not_disturb(
    workshop: Workshop, name: str, arguments: list[str]
) -> None:
    original = workshop.start_program(name, *arguments)
    for _ in range(100):
        saved = workshop.save(original.pid)
        saved.image.unlink()
    original.send()
    passed(original.finish(), original.nonce)


def test_snapshots_of_a_restored_program(workshop: Workshop, tmp_path: Path) -> None:
    """Saved, restored, saved again, restored: ten generations."""
    running = workshop.start_program("threads", "4", way=Way(threads=1))
    nonce = running.nonce
    oracle.wait_asleep(running.pid)
    before = oracle.look(running.pid)
    pid = running.pid
    for _ in range(10):
        saved = workshop.save(pid)
        following = workshop.restart(saved.image)
        pid = restored_pid(following, before)
        running.send()
        passed(running.finish(), nonce)
        running = following
    running.send()
    passed(running.finish(), nonce)


def test_output_is_the_same_every_time(workshop: Workshop) -> None:
    """Half a line in stdout's buffer at the save;
    what follows comes from another stdin each time.
    """
    original = workshop.start_program("standard_streams")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    expected = None
    for running in [original, *(workshop.restart(saved.image) for _ in range(3))]:
        running.send("go")
        running.send("one")
        running.send("two")
        running.end_of_input()
        result = running.finish()
        output = result.output.removeprefix(f"READY {original.nonce}\n")
        assert output == (
            f"half a line {original.nonce}, the other half\necho one\necho two\n"
            f"PASS {original.nonce}\n"
        )
        assert result.errors == f"to stderr {original.nonce}\n", f"{result}"
        expected = expected or output
        assert output == expected and result.status == 0


@pytest.mark.parametrize("status", [0, 1, 37, 255])
def test_exit_status(workshop: Workshop, status: int) -> None:
    original = workshop.start_program("exit_status", str(status))
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image)
    for running in (original, restart):
        running.send()
        passed(running.finish(), original.nonce, status=status)


@pytest.mark.parametrize("number", [1, 6, 9, 11, 15])
def test_death_by_signal(workshop: Workshop, number: int) -> None:
    original = workshop.start_program("exit_status", "signal", str(number))
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image)
    for running in (original, restart):
        running.send()
        passed(running.finish(), original.nonce, status=-number)
