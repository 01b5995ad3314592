"""`--peers silent`: the other ends of pipes and connections to other processes
stay open, and are silent.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import IDS, Saved, Workshop, notes, passed, restored_pid
from support.probes import namespaces, overlays
from support.processes import Running, read_text, state_of, system_call_of, wait_until

EPOLL_WAIT = 232


class Outside:
    """The other process: it has made pipes and connections,
    and gives one end of each to the program.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: list[socket.socket | int] = []
        self._given: list[socket.socket | int] = []
        self.arguments: list[str] = []

    def give(self, ours: socket.socket | int, theirs: socket.socket | int, words: str) -> None:
        """The program gets `theirs`, and is to find what `words` say."""
        self._kept.append(ours)
        self._given.append(theirs)
        self.arguments.append(f"{theirs if isinstance(theirs, int) else theirs.fileno()}:{words}")
        if "arrived" in words:
            os.write(ours if isinstance(ours, int) else ours.fileno(), b"arrived")

    def pipes(self) -> None:
        """To read from, to write to; and ones whose other end is closed."""
        reader, writer = os.pipe()
        self.give(writer, reader, "arrived,waits")
        reader, writer = os.pipe()
        self.give(reader, writer, "takes")
        reader, writer = os.pipe()
        self.give(writer, reader, "blocked")
        reader, writer = os.pipe()
        self.give(writer, reader, "arrived,ends")
        self._close_last()
        reader, writer = os.pipe()
        self.give(reader, writer, "broken")
        self._close_last()
        self.fifo("arrived,waits")
        self.fifo("takes")

    def fifo(self, words: str) -> None:
        """A FIFO that the program reads from if something arrives there, else writes to."""
        path = self._directory / f"fifo-{len(self.arguments)}"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY)
        os.set_blocking(reader, True)
        self.give(*((writer, reader) if "arrived" in words else (reader, writer)), words)

    def local(self) -> None:
        """Local sockets of each kind, and half and wholly closed ones."""
        for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM):
            self.give(*socket.socketpair(socket.AF_UNIX, kind), "arrived,waits,takes")
        self._in_part(socket.socketpair)
        listening, theirs = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        listening.bind("")  # a name of the kernel's choice
        listening.listen()
        theirs.connect(listening.getsockname())
        self.give(listening, theirs, "waits,takes")
        self.give(*socket.socketpair(), "arrived,ends,broken")
        self._close_last()

    def tcp(self) -> None:
        """TCP connections, and half closed ones."""
        self.give(*_tcp(socket.AF_INET), "arrived,waits,takes")
        self.give(*_tcp(socket.AF_INET6), "arrived,waits,takes")
        self._in_part(lambda: _tcp(socket.AF_INET))
        # That the other end is closed altogether, and not in part, is seen by nobody.
        self.give(*_tcp(socket.AF_INET), "arrived,ends,takes")
        self._close_last()

    def _in_part(self, pair: Callable[[], tuple[socket.socket, socket.socket]]) -> None:
        """By the other end; by the program, in either direction."""
        for ours, how, words in (
            (True, socket.SHUT_WR, "arrived,ends,takes"),
            (False, socket.SHUT_WR, "arrived,waits,broken"),
            (False, socket.SHUT_RD, "arrived,ends,takes"),
        ):
            here, there = pair()
            self.give(here, there, words)
            (here if ours else there).shutdown(how)

    def _close_last(self) -> None:
        _close(self._kept.pop())

    def close(self) -> None:
        """Close all that is still open here."""
        for ends in (self._kept, self._given):
            while ends:
                _close(ends.pop())

    def start(self, workshop: Workshop) -> Running:
        """The program, which has its ends for itself."""
        fds = [each if isinstance(each, int) else each.fileno() for each in self._given]
        running = workshop.start_program("fd_silent", *self.arguments, pass_fds=fds)
        while self._given:
            _close(self._given.pop())
        oracle.wait_asleep(running.pid)
        return running


def _close(end: socket.socket | int) -> None:
    os.close(end) if isinstance(end, int) else end.close()


def _tcp(family: int) -> tuple[socket.socket, socket.socket]:
    with socket.socket(family) as listening:
        listening.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        listening.listen()
        theirs = socket.create_connection(listening.getsockname()[:2])
        return listening.accept()[0], theirs


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    made = Outside(tmp_path)
    yield made
    made.close()


def _saved(workshop: Workshop, outside: Outside) -> tuple[Running, Saved]:
    """A program with everything, saved; then it and the other process are gone."""
    outside.tcp()
    return _saved_without_tcp(workshop, outside)


def _saved_without_tcp(workshop: Workshop, outside: Outside) -> tuple[Running, Saved]:
    outside.pipes()
    outside.local()
    original = outside.start(workshop)
    saved = workshop.save(original.pid)
    original.kill()
    outside.close()
    return original, saved


def _is_good(restart: Running, first: bool = True) -> None:
    for word in ["first", "again"][not first :]:
        restart.send(word)
        restart.expect("GOOD ")


def _ends(restart: Running, nonce: str) -> list[str]:
    restart.send("end")
    result = restart.finish()
    passed(result, nonce)
    return notes(result)


def _silent(said: Sequence[str]) -> list[str]:
    return [line for line in said if "its other end is silent" in line]


@pytest.mark.parametrize("ids", IDS)
def test_nothing_comes_and_everything_goes(workshop: Workshop, outside: Outside, ids: str) -> None:
    """Three times from one snapshot; what was at its end when the program was saved is so again."""
    original, saved = _saved(workshop, outside)
    for _ in range(3):
        restart = workshop.restart_as(ids, [original.pid], saved.image, "--peers", "silent")
        _is_good(restart)
        (said,) = _silent(_ends(restart, original.nonce))
        silent = len(outside.arguments) - 3  # what had ended: two pipes, a local connection
        assert said.endswith(f"what is written is discarded ({silent} like this)"), said


def test_saved_again(workshop: Workshop, outside: Outside) -> None:
    """To the second save these lead out as they did to the first."""
    original, saved = _saved(workshop, outside)
    restart = workshop.restart(saved.image, "--peers", "silent")
    _is_good(restart)
    pid = restored_pid(restart)
    again = workshop.save(pid)
    assert len([line for line in again.fidelity if "leads out" in line]) == len(
        [line for line in saved.fidelity if "leads out" in line]
    )
    restart.kill()
    later = workshop.restart(again.image, "--peers", "silent")
    _is_good(later, first=False)
    assert len(_silent(_ends(later, original.nonce))) == 1


@pytest.mark.parametrize(
    "option", [["--files", "sandbox"], ["--clock", "keep"]], ids=["sandbox", "keep"]
)
def test_in_namespaces(workshop: Workshop, outside: Outside, option: list[str]) -> None:
    if not (overlays() if "--files" in option else namespaces("--time")):
        pytest.skip("this user can have no such namespace here")
    original, saved = _saved(workshop, outside)
    restart = workshop.restart(saved.image, "--peers", "silent", *option)
    _is_good(restart)
    assert len(_silent(_ends(restart, original.nonce))) == 1


def _far_ends(holder: int) -> int:
    links = []
    for entry in os.scandir(f"/proc/{holder}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed while we look
            links.append(os.readlink(entry))
    return len(
        [link for link in links if link.startswith(("pipe:", "socket:")) or "/fifo-" in link]
    )


def _is_idle(holder: int) -> bool:
    call = system_call_of(holder, holder)
    return state_of(holder) == "S" and call is not None and call[0] == EPOLL_WAIT


def test_holder_waits_and_lets_go(workshop: Workshop, outside: Outside) -> None:
    """It takes no time while nothing comes, not even of what has been closed in part,
    and closes what the program closes.
    """
    original, saved = _saved_without_tcp(workshop, outside)
    restart = workshop.restart(saved.image, "--peers", "silent")
    _is_good(restart)
    wait_until(lambda: _is_idle(restart.pid), "the holder waits")
    spent = read_text(f"/proc/{restart.pid}/schedstat").split()[0]
    held = _far_ends(restart.pid)
    restored = restored_pid(restart)
    oracle.look(restored, None)
    assert _is_idle(restart.pid) and read_text(f"/proc/{restart.pid}/schedstat").split()[0] == spent
    restart.send("close")
    restart.expect("CLOSED")
    # All but its own three streams, the pipe in which a thread still waits, and datagrams,
    # whose sockets are not told.
    wait_until(
        lambda: _far_ends(restart.pid) == 5,
        lambda: f"the holder closes them: {_far_ends(restart.pid)} of {held}",
    )
    assert len(_silent(_ends(restart, original.nonce))) == 1


def test_stops_are_passed_on(workshop: Workshop, outside: Outside) -> None:
    """The holder stops with the program, as a shell must see, and both go on."""
    outside.give(*socket.socketpair(), "arrived,waits,takes")
    original = outside.start(workshop)
    saved = workshop.save(original.pid)
    original.kill()
    restart = workshop.restart(saved.image, "--peers", "silent")
    _is_good(restart)
    os.kill(restored_pid(restart), signal.SIGSTOP)
    wait_until(lambda: state_of(restart.pid) == "T", "the holder stops")
    os.kill(restart.pid, signal.SIGCONT)
    _is_good(restart, first=False)
    assert len(_silent(_ends(restart, original.nonce))) == 1


def test_fifo_that_somebody_reads(workshop: Workshop, outside: Outside) -> None:
    """The process that reads the FIFO now gets what the program writes: it is not discarded."""
    outside.fifo("writes")
    original = outside.start(workshop)
    saved = workshop.save(original.pid)
    original.kill()
    restart = workshop.restart(saved.image, "--peers", "silent")
    assert not _silent(_ends(restart, original.nonce))


def test_reset_is_the_default(workshop: Workshop, outside: Outside) -> None:
    reader, writer = os.pipe()
    outside.give(writer, reader, "arrived,ends")
    reader, writer = os.pipe()
    outside.give(reader, writer, "broken")
    outside.give(*socket.socketpair(), "arrived,ends,broken")
    original = outside.start(workshop)
    saved = workshop.save(original.pid)
    original.kill()
    for options in ((), ("--peers", "reset")):
        restart = workshop.restart(saved.image, *options)
        _is_good(restart)
        assert not _ends(restart, original.nonce)
