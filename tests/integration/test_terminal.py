"""On a terminal: modes, typing, Ctrl-C, and the terminal's own modes back at the end."""

from __future__ import annotations

import array
import fcntl
import os
import pty
import select
import subprocess
import termios
from pathlib import Path
from time import monotonic

from support import oracle
from support.checkpoint import Workshop
from support.processes import DEADLINE_S, children_of, describe_family, kill_now, wait_until


class Terminal:
    """A terminal with one command in its foreground, as a shell would run it."""

    def __init__(self, workshop: Workshop, command: list[str | Path], size: tuple[int, int] = (24, 80)) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(self.master, size)
        self.slave = os.dup(slave)
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

    def expect(self, wanted: str) -> str:
        """Wait for text; what stands behind it on its line."""
        deadline = monotonic() + DEADLINE_S
        while True:
            _, found, rest = self.text.partition(wanted.encode())
            if found and b"\n" in rest:
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
            usual = another.modes()
            another.type(b"go\n")
            another.expect("TYPE")
            another.type(b"\x03")
            assert another.expect("PASS ") == nonce
            assert another.finish() == 0
            assert another.modes() == usual, "the terminal's own modes do not come back at the end"


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
        from support.processes import wait_until

        def there() -> bool:
            return any(
                oracle.all_asleep(child) and oracle.positions(child) == before
                for child in children_of(terminal.process.pid)
            )

        wait_until(there, "the program runs")
        terminal.type(b"\x03")
        assert terminal.finish() == -2


def test_what_was_typed_ahead_is_named(workshop: Workshop) -> None:
    """And is left to the program."""
    script = "print('READY', flush=True); __import__('signal').pause()"
    with Terminal(workshop, ["/usr/bin/python3", "-c", script]) as terminal:
        terminal.expect("READY")
        saved = workshop.save(terminal.process.pid)
        assert saved.fidelity == []
        terminal.type(b"ahead\n")
        wait_until(lambda: waiting_on(terminal.slave) == 6, "the terminal has it")
        saved = workshop.save(terminal.process.pid)
        assert saved.fidelity == [
            "Will not come back as it was:",
            "changed: terminal: input: 6 bytes that were typed and not read stay with it",
        ]
        assert waiting_on(terminal.slave) == 6


def waiting_on(terminal: int) -> int:
    """How many bytes can be read."""
    room = array.array("i", [0])
    fcntl.ioctl(terminal, termios.FIONREAD, room)
    return room[0]
