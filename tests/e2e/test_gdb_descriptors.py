"""Descriptors through GDB: attached, saved, quit, restored elsewhere. Every kind once; all
combinations go without GDB.
"""

from __future__ import annotations

import os
import re

import pytest
from scene import Scene, refuse, restore, save

SUBJECTS = [
    ("fd_events", "timerfd_blocked_reader", "static", "auto"),
    ("fd_events", "eventfd_blocked_reader", "", "virtual"),
    ("fd_events", "pidfd_self", "nopie", "virtual"),
    ("fd_epoll", "wait_epoll_pwait2", "", "auto"),
    ("fd_epoll", "two_of_one_number", "nopie", "virtual"),
    ("fd_unix", "passed_pipe", "", "virtual"),
    ("fd_unix", "accepted", "static", "auto"),
    ("fd_unix", "credentials", "", "virtual"),
    ("fd_inet", "connection", "", "auto"),
    ("fd_inet", "blocked_receive", "nopie", "virtual"),
    ("fd_files", "memfd_mapped", "", "auto"),
    ("fd_files", "owner", "", "virtual"),
    ("fd_files", "inotify", "static", "auto"),
    ("fd_pty", "lines", "", "auto"),
]


@pytest.mark.parametrize(("program", "subject", "link", "ids"), SUBJECTS)
def test_descriptor(scene: Scene, program: str, subject: str, link: str, ids: str) -> None:
    running = scene.spawn(
        scene.program(program, link), subject, extra={"TMPDIR": str(scene.directory)}
    )
    nonce = running.expect(r"READY ([0-9a-f]{16})")[1]
    gdb = scene.gdb("-p", str(running.pid))
    saved = save(gdb, "moment")
    assert not saved.report or program == "fd_pty", saved.report
    gdb.execute("set confirm off")
    gdb.execute("kill")
    running.finish()
    gdb.quit()
    for _ in range(2):
        again = scene.gdb()
        again.execute(f"set ckpt ids {ids}")
        restored = restore(again, "moment")
        # The kernel keeps the ports of connections that were closed, for a minute;
        # only root can end that.
        told = [
            note
            for note in restored.notes
            if os.geteuid() == 0 or "this end of the connection is at" not in note
        ]
        assert not told, restored.text
        again.execute("handle SIG39 nostop noprint pass")  # what fd_files uses
        again.start("continue")
        again.type_line("go on")
        printed = again.wait_prompt()
        assert re.search(rf"^PASS {nonce}", printed, re.MULTILINE), printed
        assert "exited normally]" in printed
        again.quit()


def test_ports_of_the_living_original(scene: Scene) -> None:
    """The original goes on beside its restored self: the user is told where that listens."""
    running = scene.spawn(scene.program("fd_inet"), "bound")
    running.expect("READY")
    gdb = scene.gdb("-p", str(running.pid))
    save(gdb, "moment")
    gdb.execute("detach")
    restored = restore(gdb, "moment")
    assert len(restored.notes) == 1 and re.search(
        r"127\.0\.0\.1:\d+ is taken .* instead$", restored.notes[0]
    )
    gdb.execute("set confirm off")
    gdb.execute("kill")
    running.child.sendline("go on")
    assert "PASS" in running.finish()[0]


def test_report_of_a_lost_connection(scene: Scene) -> None:
    """In the report of the save, and again in `ckpt info`."""
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        running = scene.spawn(scene.program("fd_outside"), "tcp", str(port))
        running.expect("READY")
        gdb = scene.gdb("-p", str(running.pid))
        refused = refuse(
            gdb,
            "ckpt save strictly -strict",
            "not everything would come back as it was: changed: fd 3: TCP",
        )
        assert "more;" not in refused and not list(scene.store.glob("snapshots/*"))
        saved = save(gdb, "moment")
        line = f"the connection with 127.0.0.1:{port} comes back as if its peer had reset it"
        assert line in saved.report
        assert line in gdb.execute("ckpt info moment")
        gdb.execute("detach")
    running.close()
    restore(gdb, "moment")
    gdb.start("continue")
    gdb.type_line("go on")
    assert "PASS" in gdb.wait_prompt()


@pytest.mark.parametrize("kind", ["tcp_silent", "local_silent"])
def test_silent_peer(scene: Scene, kind: str) -> None:
    """Asked for by the option, and by the setting;
    the program ends before GDB, and its helper with it.
    """
    import socket

    family = socket.AF_INET if kind.startswith("tcp") else socket.AF_UNIX
    with socket.socket(family) as listening:
        listening.bind(
            ("127.0.0.1", 0) if family == socket.AF_INET else str(scene.directory / "peer")
        )
        listening.listen()
        place = listening.getsockname()
        running = scene.spawn(
            scene.program("fd_outside"), kind, str(place[1] if family == socket.AF_INET else place)
        )
        nonce = running.expect(r"READY ([0-9a-f]{16})")[1]
        gdb = scene.gdb("-p", str(running.pid))
        save(gdb, "moment")
        gdb.execute("detach")
    running.close()
    for by_option in (True, False):
        if not by_option:
            gdb.execute("set ckpt peers silent")
        restored = restore(gdb, "moment -peers silent" if by_option else "moment")
        (note,) = restored.notes
        assert note.startswith("note: fd 3: its other end is silent (-peers silent)"), note
        gdb.start("continue")
        gdb.type_line("go on")
        printed = gdb.wait_prompt()
        assert f"PASS {nonce}" in printed and "exited normally]" in printed, printed
