"""The process between a replay and its GDB, with a shell in GDB's place."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from gdbext.regression import keeper
from gdbext.regression.keeper import OUTPUT_LIMIT_BYTES
from support import measured

_LIMIT_S = 60


class Keeper:
    """One that runs a command, in which CHANNEL and SCRATCH are the descriptor on which it says
    something to us, and its directory. Without a command there is no directory either.
    """

    def __init__(self, scratch: Path, command: Sequence[str], stdin: str) -> None:
        self.scratch = scratch
        if command:
            scratch.mkdir()
            os.mkfifo(scratch / "fifo")  # for who is to wait
        self.control, control = socket.socketpair()
        self.channel, channel = socket.socketpair()
        words = [sys.executable, *measured.isolated(), keeper.__file__]
        words += [str(control.fileno()), str(channel.fileno()), str(scratch), stdin]
        for word in command:
            text = word.replace("CHANNEL", str(channel.fileno()))
            words.append(text.replace("SCRATCH", str(scratch)))
        with control, channel:
            self.process = subprocess.Popen(
                words,
                pass_fds=(control.fileno(), channel.fileno()),
                start_new_session=True,
            )
        for end in (self.control, self.channel):
            end.settimeout(_LIMIT_S)

    def said(self) -> str:
        """A line of the command's."""
        line = b""
        while not line.endswith(b"\n"):
            more = self.channel.recv(1)
            assert more, f"it has ended; it said {line!r}"
            line += more
        return line.decode().strip()

    def told(self) -> bytes:
        """What the keeper says by itself."""
        return self.control.recv(1)

    def drain(self) -> None:
        """Have it write all that has arrived. It may tell us of the command's end before."""
        self.control.sendall(b"d")
        while self.told() == b"E":
            pass

    def output(self, stream: int) -> bytes:
        return (self.scratch / f"output.{stream}").read_bytes()

    def end(self) -> None:
        self.control.close()
        self.channel.close()
        assert self.process.wait(_LIMIT_S) == 0


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Keeper]]:
    """Starts one."""
    started: list[Keeper] = []

    def begin(*words: str, stdin: str = os.devnull) -> Keeper:
        started.append(Keeper(tmp_path / f"scratch{len(started)}", words, stdin))
        return started[-1]

    yield begin
    for each in started:
        each.end()


def test_output_comes_through_a_terminal_or_a_pipe(start: Callable[..., Keeper]) -> None:
    keeper = start(
        "bash", "-c",
        "exec 4<>SCRATCH/tty.1 5<>SCRATCH/tty.2 6>SCRATCH/pipe.1;"
        "test -t 4 -a -t 5 -a ! -t 6 && stty -a <&4 >&5;"
        "printf 'a line\\nto a terminal' >&4; echo written >&CHANNEL; read <&CHANNEL;"
        "printf ', and piped' >&6; echo piped >&CHANNEL; read <&CHANNEL",
    )  # fmt: skip
    assert keeper.said() == "written"
    keeper.drain()
    # As it was written: a line's end is no carriage return as well.
    assert keeper.output(1) == b"a line\nto a terminal"
    assert b"rows 24; columns 80;" in keeper.output(2)
    keeper.channel.sendall(b"\n")
    assert keeper.said() == "piped"
    keeper.drain()
    assert keeper.output(1) == b"a line\nto a terminal, and piped"


def test_output_has_a_limit(start: Callable[..., Keeper]) -> None:
    """A program gone wild goes on, and does not fill the disk."""
    keeper = start(
        "bash", "-c",
        f"head -c {OUTPUT_LIMIT_BYTES + 5} /dev/zero >SCRATCH/pipe.1; echo written >&CHANNEL",
    )  # fmt: skip
    assert keeper.said() == "written"
    keeper.drain()
    assert (keeper.scratch / "output.1").stat().st_size == OUTPUT_LIMIT_BYTES
    assert keeper.output(2) == b""


def test_input_and_transcript(start: Callable[..., Keeper], tmp_path: Path) -> None:
    (tmp_path / "input").write_text("a word\n")
    keeper = start(
        "bash", "-c", "read word; echo $word; echo wrong >&2; echo read >&CHANNEL",
        stdin=str(tmp_path / "input"),
    )  # fmt: skip
    assert keeper.said() == "read"
    assert (keeper.scratch / "gdb").read_text() == "a word\nwrong\n"


def test_the_end_of_gdb_is_told(start: Callable[..., Keeper]) -> None:
    keeper = start("true")
    assert keeper.told() == b"E"
    keeper.drain()


def test_no_such_gdb(start: Callable[..., Keeper]) -> None:
    keeper = start("/no/such/gdb")
    assert keeper.told() == b"E"
    assert (keeper.scratch / "gdb").read_text() == "/no/such/gdb: No such file or directory\n"


def test_its_directory_is_gone(start: Callable[..., Keeper]) -> None:
    """As after a client that was killed early: nothing is started, and nobody told."""
    keeper = start()
    assert keeper.told() == b"" and keeper.process.wait(_LIMIT_S) == 0


def test_an_interrupt_is_for_gdb(start: Callable[..., Keeper]) -> None:
    """And GDB does not inherit what we ignore."""
    waits = (
        "import os, signal;"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]);"
        "os.write(CHANNEL, b'ready\\n');"
        "os.write(CHANNEL, b'%d\\n' % signal.sigwait([signal.SIGINT]))"
    )
    keeper = start(
        "bash", "-c", 'grep SigIgn /proc/self/status >&CHANNEL; exec "$@"',
        *("bash", sys.executable, "-c", waits),
    )  # fmt: skip
    ignored = int(keeper.said().split()[1], 16)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP):
        assert not ignored & 1 << (number - 1)
    assert keeper.said() == "ready"
    keeper.control.sendall(b"i")
    assert keeper.said() == str(int(signal.SIGINT))


@pytest.mark.parametrize("end", ["asked", "closed", "reset"])
def test_nothing_stays_behind(start: Callable[..., Keeper], end: str) -> None:
    """Not even what left its parent and its session, and ignores all that can be ignored."""
    keeper = start(
        "bash", "-c",
        "(setsid bash -c 'trap \"\" HUP INT TERM; echo $$ >&CHANNEL; read <>SCRATCH/fifo' &);"
        "read <>SCRATCH/fifo",
    )  # fmt: skip
    stray = os.pidfd_open(int(keeper.said()))
    if end == "asked":
        keeper.control.sendall(b"q")
    elif end == "closed":
        keeper.control.close()
    else:
        # That of a client that is killed before it has read an answer.
        keeper.control.sendall(b"d")
        poll = select.poll()
        poll.register(keeper.control, select.POLLIN)
        assert poll.poll(_LIMIT_S * 1000)
        keeper.control.close()
    assert keeper.process.wait(_LIMIT_S) == 0
    poll = select.poll()
    poll.register(stray, select.POLLIN)
    assert poll.poll(0), "the stray is alive"
    os.close(stray)
    assert not keeper.scratch.exists()
