"""What another process has, too, comes back as the program's own, and that is named at the save."""

from __future__ import annotations

import re

import pytest
from support import oracle
from support.checkpoint import Workshop, restored_pid
from support.processes import Running, children_of

# Makes something, and children that have it, too, and end with the program.
PROGRAM = """
import ctypes, mmap, os, signal, socket, sys, tempfile
def listening(kind):
    made = socket.socket(kind)
    made.listen() if kind == socket.AF_INET else \
(made.bind('\\0of-the-test-%d' % os.getpid()), made.listen())
    return made
def bound():
    made = socket.socket(type=socket.SOCK_DGRAM)
    made.bind(('127.0.0.1', 0))
    return made
def file_of(fd):
    os.ftruncate(fd, 1 << 16)
    return fd, mmap.mmap(fd, 1 << 16)
kept = eval(sys.argv[1])
ready = os.pipe()
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        os.write(ready[1], b'x')
        signal.pause()
    os.read(ready[0], 1)
[os.close(end) for end in ready]
print('READY x', flush=True)
input()
"""

OWN = "the program's comes back as its own"
SUBJECTS = {
    "mmap.mmap(-1, 5 << 16)": (
        "memory 0x[0-9a-f]+-0x[0-9a-f]+: shared memory: {} it, too: "
        "the program's 320 KiB come back as its own"
    ),
    "os.memfd_create('x')": f"fd 3: file: {{}} it, too: {OWN}",
    "file_of(os.memfd_create('x'))": (
        "fd 3, 4: file: {} it, too: the program's 64 KiB come back as its own"
    ),
    "tempfile.TemporaryFile()": f"fd 3: file: {{}} it, too: {OWN}",
    "os.pipe()": f"fd 3, 4: pipe: {{}} it, too: {OWN}",
    "[os.pipe(), os.dup(3)]": f"fd 3, 4, 5: pipe: {{}} it, too: {OWN}",
    "socket.socketpair()": f"fd [34]: local socket: {{}} it, too: {OWN}",
    "listening(socket.AF_INET)": f"fd 3: TCP socket: {{}} it, too: {OWN}",
    "listening(socket.AF_UNIX)": f"fd 3: local socket: {{}} it, too: {OWN}",
    "bound()": f"fd 3: UDP socket: {{}} it, too: {OWN}",
    "os.openpty()": f"fd 4: pseudoterminal: {{}} it, too: {OWN}",
}


def _start(workshop: Workshop, subject: str, children: int) -> Running:
    program = workshop.start(["/usr/bin/python3", "-c", PROGRAM, subject, str(children)])
    program.ready()
    oracle.wait_asleep(program.pid)
    return program


def _named(workshop: Workshop, pid: int) -> list[str]:
    return [line for line in workshop.save(pid).fidelity if " it, too: " in line]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_shared_with_a_child(workshop: Workshop, subject: str) -> None:
    original = _start(workshop, subject, 1)
    (child,) = children_of(original.pid)
    saved = workshop.save(original.pid)
    expected = f"changed: {SUBJECTS[subject].format(rf'process {child} .python3. has')}"
    said = [line for line in saved.fidelity if " it, too: " in line]
    assert said and all(re.fullmatch(expected, line) for line in said), saved.result.output
    assert len(said) == (2 if "socketpair" in subject else 1), said
    original.kill()
    restart = workshop.restart(saved.image)
    assert _named(workshop, restored_pid(restart)) == []  # nobody has it but the program
    restart.send()
    assert restart.finish().status == 0


@pytest.mark.parametrize("subject", ["mmap.mmap(-1, 5 << 16)", "os.pipe()"])
def test_shared_with_several(workshop: Workshop, subject: str) -> None:
    original = _start(workshop, subject, 3)
    (line,) = _named(workshop, original.pid)
    assert re.search(r": process \d+ \(python3\) and 2 more have it, too: ", line), line


def test_shared_with_the_parent(workshop: Workshop) -> None:
    """It need not be a child that has it."""
    parent = _start(workshop, "[mmap.mmap(-1, 1 << 16), os.pipe()]", 1)
    (child,) = children_of(parent.pid)
    said = _named(workshop, child)
    assert len(said) == 2 and all(
        f": process {parent.pid} (python3) has it, too: " in line for line in said
    ), said


@pytest.mark.parametrize("subject", SUBJECTS)
def test_not_shared(workshop: Workshop, subject: str) -> None:
    original = _start(workshop, subject, 0)
    assert _named(workshop, original.pid) == []
