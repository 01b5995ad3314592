"""What is around a process and not in a snapshot:
named at the save, and what is said is what happens.
"""

from __future__ import annotations

import os
import re
import shutil

import pytest
from support.checkpoint import Saved, Workshop, passed, restored_pid
from support.probes import namespaces
from support.processes import as_root, read_text, wait_until

WHERE = (
    "print('READY x', flush=True); input(); import os; print('IN', os.readlink('/proc/self/cwd'))"
)


def _lines(saved: Saved) -> list[str]:
    return [line for line in saved.fidelity if line.split(":")[1:2] == [" process"]]


@pytest.mark.parametrize("empty", [True, False], ids=["gone", "replaced"])
def test_deleted_working_directory(workshop: Workshop, empty: bool) -> None:
    directory = workshop.directory / "inner"
    directory.mkdir()
    original = workshop.start(["/usr/bin/python3", "-c", WHERE], directory=directory)
    original.ready()
    directory.rmdir()
    saved = workshop.save(original.pid)
    if not empty:
        directory.mkdir()  # another one of the same name is not where the program was
    assert not _lines(saved)
    restart = workshop.restart(saved.image)
    for running in (original, restart):
        running.send()
        result = running.finish()
        assert result.status == 0, f"{result}"
        # The restored one is in another, which is as empty and which nobody finds either.
        assert re.search(r"^IN /\S+ \(deleted\)$", result.output, re.MULTILINE), f"{result}"


@pytest.mark.skipif(not namespaces("--uts", "--net"), reason="no namespaces for this user here")
def test_namespaces(workshop: Workshop) -> None:
    program = workshop.program("exit_status")
    user = [] if as_root() else ["--user"]
    original = workshop.start(["unshare", *user, "--uts", "--net", program, "0"])
    original.ready()
    saved = workshop.save(original.pid)
    (line,) = _lines(saved)
    names = "network, host name" if as_root() else "network, users, host name"
    assert re.fullmatch(
        rf"changed: process: namespaces: .*\({names}\): it comes back in those of the restore", line
    ), line
    restart = workshop.restart(saved.image)
    pid = restored_pid(restart)
    for name in ("net", "uts", "user"):
        assert os.readlink(f"/proc/{pid}/ns/{name}") == os.readlink(f"/proc/self/ns/{name}")
    for running in (original, restart):
        running.send()
        passed(running.finish(), original.nonce)


@pytest.mark.parametrize("restricted", [True, False], ids=["restricted", "free"])
def test_landlock(workshop: Workshop, restricted: bool) -> None:
    """The kernel shows it to nobody: it is found out by what such a program may not do."""
    original = workshop.start_program("landlock", *([] if restricted else ["free"]))
    saved = workshop.save(original.pid)
    assert [line.split(":")[2] for line in _lines(saved)] == [
        " Landlock"
    ] * restricted, saved.result.output
    restart = workshop.restart(saved.image)
    for running in (original, restart):
        running.send()
        passed(running.finish(), original.nonce)


@pytest.mark.skipif(not as_root(), reason="chroot needs root")
def test_chroot(workshop: Workshop) -> None:
    root = workshop.directory / "root"
    root.mkdir()
    program = workshop.program("exit_status", ".static")
    shutil.copy(program, root)
    original = workshop.start(["/usr/sbin/chroot", root, f"/{program.name}", "0"])
    original.ready()
    saved = workshop.save(original.pid)
    assert any("root directory" in line for line in _lines(saved)), saved.result.output
    original.send()
    passed(original.finish(), original.nonce)


def _keyring(special: int, make: bool) -> str:
    # keyctl(KEYCTL_GET_KEYRING_ID)
    call = f"ctypes.CDLL(None).syscall(250, 0, {special}, {int(make)})"
    return f"import ctypes; print('READY', {call}, flush=True); input()"


@pytest.mark.parametrize(("special", "whose"), [(-1, "main thread's"), (-2, "process's")])
def test_keyrings(workshop: Workshop, special: int, whose: str) -> None:
    original = workshop.start(["/usr/bin/python3", "-c", _keyring(special, True)])
    if int(original.ready()) < 0:
        pytest.skip("no keyrings here: keyctl(2) is not permitted")
    saved = workshop.save(original.pid)
    assert _lines(saved) == [f"lost: process: keys: the {whose} keyring does not come back"]
    restart = workshop.restart(saved.image)
    restored_pid(restart)
    again = workshop.save(restored_pid(restart))
    assert _lines(again) == []
    for running in (original, restart):
        running.send()
        assert running.finish().status == 0


def test_session_keyring(workshop: Workshop) -> None:
    """One that it has joined by name: those of logins are not worth a word."""
    # keyctl(KEYCTL_JOIN_SESSION_KEYRING)
    call = "ctypes.CDLL(None).syscall(250, 1, b'the-test', 0, 0, 0)"
    original = workshop.start(
        ["/usr/bin/python3", "-c", f"import ctypes; print('READY', {call}, flush=True); input()"]
    )
    if int(original.ready()) < 0:
        pytest.skip("no keyrings here: keyctl(2) is not permitted")
    saved = workshop.save(original.pid)
    assert _lines(saved) == [
        "lost: process: keys: the session's keyring (the-test) does not come back"
    ]
    original.send()
    assert original.finish().status == 0


def _session_of(pid: int) -> tuple[int, int, int]:
    """Session, process group, and terminal (0: none)."""
    fields = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[3]), int(fields[2]), int(fields[4])


def test_daemon(workshop: Workshop) -> None:
    """The leader of a session without a terminal is one again,
    and again when it is saved once more.
    """
    program = workshop.start_program("exit_status", "7", before_exec=os.setsid)
    nonce = program.nonce
    running, pid = program, program.pid
    for _ in range(2):
        assert _session_of(pid) == (pid, pid, 0)
        saved = workshop.save(pid)
        assert _lines(saved) == []
        running.kill()
        running = workshop.restart(saved.image)
        pid = restored_pid(running)
    assert _session_of(pid) == (pid, pid, 0)
    running.send()
    passed(running.finish(), nonce, status=7)


# A child in the session of a leader that has ended; it ends with the input.
ORPHAN = """
import os, sys
os.setsid()
if os.fork():
    os._exit(0)
while os.path.exists('/proc/%d' % os.getsid(0)):
    os.sched_yield()
print('READY', os.getpid(), flush=True)
sys.stdin.read()
"""


def test_session_without_a_leader(workshop: Workshop) -> None:
    started = workshop.start(["/usr/bin/python3", "-c", ORPHAN])
    wait_until(lambda: started.poll() is not None, "the leader has ended")
    pid = int(started.ready())
    session = _session_of(pid)[0]
    assert session != pid
    saved = workshop.save(pid)
    assert _lines(saved) == [
        (
            f"changed: process: session: its session {session} has no leader any more: "
            "it comes back as the leader of another"
        )
    ]
    restart = workshop.restart(saved.image)
    restored = restored_pid(restart)
    assert _session_of(restored) == (restored, restored, 0)
    started.end_of_input()
    restart.end_of_input()
    assert restart.finish().status == 0
