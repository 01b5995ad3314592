"""GDB is killed while it saves a program that it is attached to, at any moment: the program goes
on, as it does after the death of a GDB that did nothing.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from collections.abc import Iterator
from pathlib import Path

import pexpect
import processes
import pytest
from gdbsession import GdbSession
from scene import BUILD, Scene, save

# What of GDB's calls is in the save itself, for most of which it does other things.
MOMENTS = 8


@contextmanager
def traced(gdb: GdbSession, log: Path, *options: str) -> Iterator[None]:
    """strace looks at GDB's calls of ptrace."""
    strace = subprocess.Popen(
        ["strace", "-o", log, "-p", str(gdb.child.pid), "-e", "trace=ptrace", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert strace.stderr is not None
    try:
        line = strace.stderr.readline()
        assert "attached" in line, line
        yield
    finally:
        strace.terminate()
        strace.communicate()


def calls_in(log: Path) -> int:
    return len(re.findall(r"^ptrace\(", log.read_text(), re.MULTILINE))


def stopped(pid: int) -> list[str]:
    """Threads that do not run."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = processes.read_text(f"{task}/status")
        if re.search(r"^State:\s+[tT]|^TracerPid:\s+[1-9]", status, re.MULTILINE):
            found.append(status)
    return found


@pytest.mark.parametrize("name", ["threads", "thr_hammer"])
def test_gdb_is_killed_in_a_save(scene: Scene, name: str) -> None:
    arguments = ["4"] if name == "threads" else []
    program = scene.spawn(str(BUILD / "tests/programs" / name), *arguments)
    program.expect("READY")
    log = scene.directory / "calls"

    gdb = scene.gdb("-p", str(program.pid))
    with traced(gdb, log):
        save(gdb, "whole")
    gdb.execute("detach")
    gdb.quit()
    count = calls_in(log)
    assert count > 100

    for number in range(count // MOMENTS, count, count // MOMENTS):
        gdb = scene.gdb("-p", str(program.pid))
        with traced(gdb, log, "-e", f"inject=ptrace:signal=KILL:when={number}"):
            gdb.start("ckpt save killed -force")
            gdb.child.expect([pexpect.EOF, "Saved"])
        gdb.close()
        processes.wait_until(
            lambda: not stopped(program.pid),
            f"nothing is stopped, after GDB was killed at call {number}",
        )
        assert processes.state_of(program.pid) not in (
            "",
            "Z",
        ), f"killed at call {number} of {count}"
    program.child.sendline("go")
    text, status = program.finish()
    assert "PASS" in text and status == 0, text
