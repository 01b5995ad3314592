"""Children that have ended: a wait after the restore gets their exit status."""

from __future__ import annotations

import os
import re
import resource
import subprocess

import pytest
from support.checkpoint import Way, Workshop, generations, pairwise, round_trip
from support.processes import as_root

CASES = """
    codes killed any waitid raw wait3 group sigchld_pending session sigchld_taken later many clone
    in_thread user
""".split()
WAYS = [pytest.param(way, id=str(way)) for way in pairwise(threads=(1, 4))]


def test_the_list_is_complete(workshop: Workshop) -> None:
    listed = subprocess.run(
        [workshop.program("proc_zombies"), "--list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.split() == CASES


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", WAYS)
def test_zombies(workshop: Workshop, name: str, way: Way) -> None:
    if name == "user" and not as_root():
        pytest.skip("changes user ids")
    saved = round_trip(workshop, "proc_zombies", name, way=way, restores=3)
    named = [line for line in saved.fidelity if "child" in line]
    assert bool(named) == (name == "user"), saved.result.output


@pytest.mark.parametrize("name", ["codes", "group", "session", "sigchld_pending"])
def test_generations(workshop: Workshop, name: str) -> None:
    """Saved, restored with new ids, saved again, restored with new ids:
    the program knows the first ones.
    """
    generations(workshop, "proc_zombies", name)


def test_after_a_core_dump(workshop: Workshop) -> None:
    """The status comes back without the core flag, which is said;
    no core file is written by the restore.
    """
    with open("/proc/sys/kernel/core_pattern") as file:
        if file.read().startswith("|"):
            pytest.skip("core dumps go to a program")

    def may_dump() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)

    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("no core dumps here (RLIMIT_CORE)")
    script = """
import os
pid = os.fork() or os.abort()
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print("READY x", flush=True)
input()
status = os.waitpid(pid, 0)[1]
print("STATUS", os.WTERMSIG(status), os.WCOREDUMP(status))
"""
    original = workshop.start(["/usr/bin/python3", "-c", script], before_exec=may_dump)
    original.ready()
    saved = workshop.save(original.pid)
    assert re.search(
        r"^changed: child \d+: child process: python3 .*WCOREDUMP", "\n".join(saved.fidelity), re.M
    )
    original.send()
    assert "STATUS 6 True" in original.finish().output
    for name in os.listdir(workshop.directory):
        if name.startswith("core"):
            (workshop.directory / name).unlink()
    restart = workshop.restart(saved.image, before_exec=may_dump)
    restart.send()
    assert "STATUS 6 False" in restart.finish().output
    assert not [name for name in os.listdir(workshop.directory) if name.startswith("core")]
