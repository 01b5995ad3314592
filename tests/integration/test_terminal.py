"""On a terminal: modes, typing, Ctrl-C, and the terminal's own modes back at the end."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
from pathlib import Path
from time import monotonic

import pytest
from support import oracle
from support.checkpoint import Workshop, notes
from support.probes import may_type
from support.processes import (
    DEADLINE_S,
    as_root,
    children_of,
    describe_family,
    kill_now,
    wait_until,
)


class Terminal:
    """A terminal with one command in its foreground, as a shell would run it."""

    def __init__(
        self,
        workshop: Workshop,
        command: list[str | Path],
        size: tuple[int, int] = (24, 80),
        typed: bytes = b"",
    ) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(self.master, size)
        os.write(self.master, typed)
        self.slave = os.dup(slave)
        self.usual = self.modes()
        self.text = b""
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, **workshop.environment},
            cwd=workshop.directory,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        for child in children_of(self.process.pid):
            kill_now(child)
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)

    def expect(self, wanted: str, whole_line: bool = True) -> str:
        """Wait for text; what stands behind it on its line."""
        deadline = monotonic() + DEADLINE_S
        while True:
            _, found, rest = self.text.partition(wanted.encode())
            if found and (b"\n" in rest or not whole_line):
                line, _, self.text = rest.partition(b"\n")
                return line.decode().strip()
            ready, _, _ = select.select([self.master], [], [], max(0.0, deadline - monotonic()))
            assert ready, f"no {wanted}: {self.text!r}\n{describe_family(self.process.pid)}"
            try:
                data = os.read(self.master, 4096)
            except OSError:
                data = b""
            assert data, f"ended without {wanted}: {self.text!r}"
            self.text += data

    def type(self, text: bytes) -> None:
        """Type."""
        os.write(self.master, text)

    def modes(self) -> list[object]:
        """The terminal's modes."""
        return termios.tcgetattr(self.slave)

    def finish(self) -> int:
        """Wait for the command to end."""
        return self.process.wait(DEADLINE_S)


def test_terminal(workshop: Workshop) -> None:
    """Saved on one terminal, restored on another two: modes, foreground, typing, Ctrl-C."""
    with Terminal(workshop, [workshop.program("terminal")]) as first:
        nonce = first.expect("READY ")
        oracle.wait_asleep(first.process.pid)
        saved = workshop.save(first.process.pid)
        first.type(b"go\n")
        first.expect("TYPE")
        first.type(b"\x03")
        assert first.expect("PASS ") == nonce
        assert first.finish() == 0
    for _ in range(2):
        with Terminal(workshop, workshop.restart_command(saved.image)) as another:
            another.type(b"go\n")
            another.expect("TYPE")
            another.type(b"\x03")
            assert another.expect("PASS ") == nonce
            assert another.finish() == 0
            assert (
                another.modes() == another.usual
            ), "the terminal's own modes do not come back at the end"


def test_daemon_on_a_terminal(workshop: Workshop) -> None:
    """It has no terminal when it is restored on one, and is ended by Ctrl-C all the same."""
    original = workshop.start_program("exit_status", "7", before_exec=os.setsid)
    saved = workshop.save(original.pid)
    original.kill()
    # Its own standard streams, which lead out of it, come back as those of the restore.
    with Terminal(workshop, workshop.restart_command(saved.image)) as terminal:
        child = restored_child(terminal.process.pid)
        assert os.getsid(child) == child
        terminal.type(b"\x03")
        assert terminal.finish() == -signal.SIGINT
    with Terminal(workshop, workshop.restart_command(saved.image)) as terminal:
        restored_child(terminal.process.pid)
        terminal.type(b"go\n")
        terminal.expect(f"PASS {original.nonce}")
        assert terminal.finish() == 7


def test_window_of_another_size(workshop: Workshop) -> None:
    """A program that handles SIGWINCH gets one, if the terminal has another size than it had."""
    with Terminal(workshop, [workshop.program("window_size")]) as first:
        nonce = first.expect("READY ")
        oracle.wait_asleep(first.process.pid)
        saved = workshop.save(first.process.pid)
    for rows, columns in ((50, 132), (24, 80)):
        with Terminal(workshop, workshop.restart_command(saved.image), (rows, columns)) as another:
            if rows != 24:
                assert another.expect("resized to ") == "50 rows, 132 columns"
            another.type(b"go\n")
            assert another.expect("signals: ") == ("0." if rows == 24 else "1.")
            assert another.expect("PASS ") == nonce
            assert another.finish() == 0


def test_saved_on_a_terminal_restored_without(workshop: Workshop) -> None:
    """The streams that were a terminal are whatever ckpt-restart has."""
    with Terminal(workshop, [workshop.program("exit_status"), "7"]) as terminal:
        nonce = terminal.expect("READY ")
        oracle.wait_asleep(terminal.process.pid)
        saved = workshop.save(terminal.process.pid)
        terminal.type(b"go\n")
        terminal.expect("PASS ")
        assert terminal.finish() == 7
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    assert (result.status, result.output) == (7, f"PASS {nonce}\n"), f"{result}"


def test_saved_from_pipes_restored_on_a_terminal(workshop: Workshop) -> None:
    original = workshop.start_program("exit_status", "7")
    saved = workshop.save(original.pid)
    with Terminal(workshop, workshop.restart_command(saved.image)) as terminal:
        terminal.type(b"go\n")
        assert terminal.expect("PASS ") == original.nonce
        assert terminal.finish() == 7


def test_ctrl_c_ends_a_program_that_does_not_handle_it(workshop: Workshop) -> None:
    original = workshop.start_program("exit_status", "7")
    oracle.wait_asleep(original.pid)
    before = oracle.positions(original.pid)
    saved = workshop.save(original.pid)
    with Terminal(workshop, workshop.restart_command(saved.image)) as terminal:
        restored_child(terminal.process.pid, before)
        terminal.type(b"\x03")
        assert terminal.finish() == -2


# Waits for a signal, then says what it reads.
READS = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
print('READY', flush=True)
signal.sigwait([signal.SIGUSR1])
while True:
    line = os.read(0, 4096)
    print('READ', line, flush=True)
    if line == b'end\\n':
        break
"""


def read_the_rest(terminal: Terminal, pid: int) -> None:
    """The program `pid` reads what was typed ahead,
    an end of file and half a line included, and what is typed now.
    """
    os.kill(pid, signal.SIGUSR1)
    assert terminal.expect("READ ") == r"b'ahead\n'"
    assert terminal.expect("READ ") == r"b'no end'"
    assert terminal.expect("READ ") == r"b''"
    assert terminal.expect("READ ") == r"b'\xc3\xa4\x03\n'"
    # The line begun can be corrected.
    terminal.type(b"X\x7ftial\n")
    assert terminal.expect("READ ") == r"b'partial\n'"
    terminal.type(b"end\n")
    assert terminal.expect("READ ") == r"b'end\n'"
    assert terminal.finish() == 0


# Lines, ends of file, a Ctrl-C that was quoted, and half a line.
AHEAD = b"ahead\nno end\x04\x04" + "ä".encode() + b"\x16\x03\npar"


def test_what_was_typed_ahead(workshop: Workshop) -> None:
    """It is left to the program, and comes back where the kernel lets us type on a
    terminal of somebody else's.
    """
    with Terminal(workshop, ["/usr/bin/python3", "-c", READS]) as terminal:
        terminal.expect("READY")
        wait_until(lambda: oracle.all_asleep(terminal.process.pid), "it waits")
        before = oracle.positions(terminal.process.pid)
        assert workshop.save(terminal.process.pid).fidelity == []
        terminal.type(AHEAD)
        wait_until(lambda: waiting_on(terminal.slave) == 16, "the terminal has it")
        saved = workshop.save(terminal.process.pid)
        named = [
            "Will not come back as it was:",
            "changed: terminal: input: 16 bytes that were typed and not read stay with it",
        ]
        assert saved.fidelity == ([] if as_root() else named)
        assert waiting_on(terminal.slave) == 16
        read_the_rest(terminal, terminal.process.pid)
    if not as_root():
        return
    for _ in range(2):
        with Terminal(workshop, workshop.restart_command(saved.image)) as another:
            read_the_rest(another, restored_child(another.process.pid, before))
    # Where there is no terminal the user is told what it was.
    restart = workshop.restart(saved.image)
    os.kill(restored_child(restart.pid, before), signal.SIGUSR1)
    restart.send("end")
    result = restart.finish()
    assert result.status == 0 and result.output == "READ b'end\\n'\n"
    assert notes(result) == [
        'typed before the save and not read yet: "ahead\\nno end\\000\\000ä\\003\\npar"; '
        "type it again "
        "(there is no terminal to put it into)"
    ]


@pytest.mark.skipif(not as_root(), reason="only root may type on a terminal of somebody else's")
def test_keys_typed_ahead(workshop: Workshop) -> None:
    """In a terminal without lines, where no key means anything to the terminal."""
    keys = READS.replace("import os, signal", "import os, signal, tty; tty.setraw(0)")
    with Terminal(workshop, ["/usr/bin/python3", "-c", keys]) as terminal:
        terminal.expect("READY")
        wait_until(lambda: oracle.all_asleep(terminal.process.pid), "it waits")
        before = oracle.positions(terminal.process.pid)
        terminal.type(b"a\x04\x00\x03\x16\x11\x7f\r")
        wait_until(lambda: waiting_on(terminal.slave) == 8, "the terminal has it")
        saved = workshop.save(terminal.process.pid)
        assert saved.fidelity == []
        os.kill(terminal.process.pid, signal.SIGUSR1)
        assert terminal.expect("READ ") == r"b'a\x04\x00\x03\x16\x11\x7f\r'"
    with Terminal(workshop, workshop.restart_command(saved.image)) as another:
        os.kill(restored_child(another.process.pid, before), signal.SIGUSR1)
        assert another.expect("READ ") == r"b'a\x04\x00\x03\x16\x11\x7f\r'"
        another.type(b"end\n")
        assert another.expect("READ ") == r"b'end\n'"
        assert another.finish() == 0


@pytest.mark.skipif(not as_root(), reason="only root may type on a terminal of somebody else's")
@pytest.mark.parametrize("ahead", [b"", b"a whole line\n"])
def test_typed_ahead_of_the_save_and_of_the_restore(workshop: Workshop, ahead: bytes) -> None:
    """What was typed first is read first."""
    with Terminal(workshop, ["/usr/bin/python3", "-c", READS]) as terminal:
        terminal.expect("READY")
        wait_until(lambda: oracle.all_asleep(terminal.process.pid), "it waits")
        before = oracle.positions(terminal.process.pid)
        terminal.type(ahead + b"half")
        terminal.expect("half", whole_line=False)
        saved = workshop.save(terminal.process.pid)
    for _ in range(2):
        with Terminal(
            workshop, workshop.restart_command(saved.image), typed=b" a line\nen"
        ) as another:
            os.kill(restored_child(another.process.pid, before), signal.SIGUSR1)
            for line in [*ahead.splitlines(keepends=True), b"half a line\n"]:
                assert another.expect("READ ") == repr(line)
            another.type(b"d\n")
            assert another.expect("READ ") == r"b'end\n'"
            assert another.finish() == 0


# Gives the terminal to a child that runs READS, and saves it when it has got a line itself.
SAVES_FROM_BEHIND = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv('/usr/bin/python3', ['python3', '-c', sys.argv[1]])
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
print('CHILD', child, flush=True)
signal.sigwait([signal.SIGUSR2])
saved = subprocess.run([sys.argv[2], str(child), sys.argv[3]], stdout=subprocess.PIPE, text=True)
print('SAVED', saved.returncode, saved.stdout.splitlines()[1:], flush=True)
os.kill(child, signal.SIGUSR1)
os.waitpid(child, 0)
"""


@pytest.mark.skipif(not may_type(), reason="dev.tty.legacy_tiocsti is 0")
def test_typed_ahead_saved_from_the_background(workshop: Workshop) -> None:
    """Who is not in the terminal's foreground cannot read what is typed there, and says so."""
    save, image = workshop.build / "bin" / "ckpt-save", workshop.directory / "image"
    with Terminal(
        workshop, ["/usr/bin/python3", "-c", SAVES_FROM_BEHIND, READS, save, image]
    ) as terminal:
        child = int(terminal.expect("CHILD "))
        terminal.expect("READY")
        wait_until(lambda: oracle.all_asleep(child), "it waits")
        terminal.type(b"end\n")
        wait_until(lambda: waiting_on(terminal.slave) == 4, "the terminal has it")
        os.kill(terminal.process.pid, signal.SIGUSR2)
        said = terminal.expect("SAVED ")
        assert said.startswith("0 ['Will not come back as it was:', '"), said
        assert (
            "terminal: input: 4 bytes that were typed and not read stay with it (cannot read what "
            in said
        ), said
        assert terminal.expect("READ ") == r"b'end\n'"
        assert terminal.finish() == 0


def restored_child(restart: int, before: object = None) -> int:
    """The program of a `ckpt-restart`, once it is where it was, if that is known."""
    found: list[int] = []

    def there() -> bool:
        found[:] = [
            child
            for child in children_of(restart)
            if oracle.all_asleep(child) and before in (None, oracle.positions(child))
        ]
        return bool(found)

    wait_until(there, "the program runs")
    return found[0]


def waiting_on(terminal: int) -> int:
    """How many bytes can be read."""
    room = array.array("i", [0])
    fcntl.ioctl(terminal, termios.FIONREAD, room)
    return room[0]
