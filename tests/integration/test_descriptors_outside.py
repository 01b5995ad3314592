"""What leads out of the program, and what somebody else has taken since: the program notices what
it would notice of a peer that went away, and the user is told.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import oracle, probes
from support.checkpoint import Workshop, notes, passed, restored_pid


@contextmanager
def _served(subject: str, directory: Path) -> Iterator[str]:
    """Somebody who answers once whatever is sent to him, and keeps the connection."""
    is_tcp = subject.startswith("tcp")
    with socket.socket(socket.AF_INET if is_tcp else socket.AF_UNIX) as listening:
        listening.bind(("127.0.0.1", 0) if is_tcp else str(directory / "peer"))
        listening.listen()
        taken: list[socket.socket] = []

        def serve() -> None:
            connection, _ = listening.accept()
            taken.append(connection)
            if "data" in subject and connection.recv(100):
                connection.sendall(b"something")

        thread = threading.Thread(target=serve)
        thread.start()
        yield str(listening.getsockname()[1]) if is_tcp else listening.getsockname()
        thread.join()
        for connection in taken:
            connection.close()


@pytest.mark.parametrize(
    "subject", ["tcp", "tcp_data", "tcp_blocked", "local", "local_data", "local_blocked"]
)
def test_lost_peer(workshop: Workshop, subject: str) -> None:
    with _served(subject, workshop.directory) as place:
        original = workshop.start_program("fd_outside", subject, place)
        oracle.wait_asleep(original.pid)
        before = oracle.look(original.pid, None)
        saved = workshop.save(original.pid)
        original.kill()
    said = [line for line in saved.fidelity if "socket" in line]
    assert len(said) == 1 and said[0].startswith("changed: fd 3: "), saved.result.output
    assert place in said[0] and ("reset" if "tcp" in subject else "closed") in said[0], said
    assert ("9 bytes that wait in it can be read" in said[0]) == ("data" in subject), said
    for _ in range(2):
        restart = workshop.restart(saved.image)
        if "blocked" not in subject:
            restored_pid(restart, before)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert not notes(result)


def test_peer_has_not_accepted_yet(workshop: Workshop) -> None:
    """It is nobody's yet, and is cut off as any other: that is said."""
    place = str(workshop.directory / "peer")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen()
        original = workshop.start_program("fd_outside", "local", place)
        oracle.wait_asleep(original.pid)
        saved = workshop.save(original.pid)
        original.kill()
    assert (
        f"the connection with {place} comes back with its other end closed" in saved.result.output
    )
    restart = workshop.restart(saved.image)
    restart.send()
    passed(restart.finish(), original.nonce)


MISSING = {
    "closed_peer": (
        "has been closed by it; it comes back so, with other addresses; "
        "the 10 bytes that wait in it can be read"
    ),
    "connecting": "changed: fd 6: TCP socket: ",
    "corked": (
        "changed: fd 4: UDP socket: the datagram that it was putting together (MSG_MORE, UDP_CORK) "
        "is gone"
    ),
    "left_sender": "changed: fd 3: local socket: what waits in it from left-",
    "unaccepted_tcp": "lost: fd 4: TCP socket: what it has sent to 127.0.0.1:",
    "unaccepted_local": "lost: fd 4: local socket: what it has sent to @",
    "urgent_local": "lost: fd 4: local socket: an urgent byte (MSG_OOB) does not come back",
    "unread_events": "bytes of events that the program has not read do not come back",
    "asked_for_permission": "comes back without its events that ask for permission",
    "nameless_watched": "a mark is on a file whose name cannot be found (",
    "told_of_messages": "message queue: the program is not told of a message in /ckpt-test-",
    "unreadable_queue": "message queue: 1 messages in /ckpt-test-",
    "ring_of_packets": "its ring of packets (PACKET_RX_RING, PACKET_TX_RING) is gone",
    "secret": (
        "mapping: secret memory (memfd_secret) (/secretmem): the memory comes back inaccessible"
    ),
}


@pytest.mark.parametrize("subject", MISSING)
def test_what_does_not_come_back_is_named(workshop: Workshop, subject: str) -> None:
    """It is said when the program is saved, and the rest of it comes back:
    a snapshot of it can be restored.
    """
    original = workshop.start_program("fd_missing", subject)
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    assert sum(MISSING[subject] in line for line in saved.fidelity) == 1, saved.result.output
    original.kill()
    for _ in range(3):
        restart = workshop.restart(saved.image)
        restart.send()
        passed(restart.finish(), original.nonce)


# What a save says of errors that the program has not read yet: it may not read them itself.
NOT_READ = "its connection has ended with an error that the program has not read yet"
ERRORS = {
    "reset": f"changed: fd 5: TCP socket: {NOT_READ}",
    "reset_with_data": f"changed: fd 5: TCP socket: {NOT_READ}",
    "told": "",
    "refused": f"changed: fd 3: TCP socket: {NOT_READ}",
    "finished": "",
    "local_reset": "",
    "shut_without": "",
    "udp_refused": (
        "lost: fd 4: UDP socket: what waits in it behind an error that has not been read yet"
    ),
}


def test_list_of_errors_is_complete(workshop: Workshop) -> None:
    assert workshop.start(
        [workshop.program("fd_errors"), "--list"]
    ).finish().output.split() == list(ERRORS)


@pytest.mark.parametrize("subject", ERRORS)
def test_errors_are_left_to_the_program(workshop: Workshop, subject: str) -> None:
    """Saved, it reads the error as if nothing had been, and so does each that is restored, where
    the error can be made again.
    """
    original = workshop.start_program("fd_errors", subject)
    oracle.wait_asleep(original.pid)
    image = workshop.save(original.pid).image
    saved = workshop.save(original.pid)
    said = [line for line in saved.fidelity if "socket" in line]
    if subject == "udp_refused":
        assert any(
            "has not been read yet: it does not come back" in line for line in said
        ), saved.result.output
    else:
        assert len(said) == bool(ERRORS[subject]), saved.result.output
    assert (
        any(line.startswith(ERRORS[subject]) for line in said) or not ERRORS[subject]
    ), saved.result.output
    original.send()
    passed(original.finish(), original.nonce)
    for options in ((), (), ("--peers", "silent")):
        restart = workshop.restart(image, *options)
        restart.send("restored")
        result = restart.finish()
        passed(result, original.nonce)
        assert not notes(result), f"{result}"


DIRECTORY = """
$| = 1;
opendir(my $place, $ARGV[0]) or die "opendir: $!";
open(my $file, "<", $ARGV[1]) or die "open: $!";
print "READY x\\n";
<STDIN>;
print -d $place ? "a directory\\n" : "none\\n";
print defined(sysread($file, $_, 1)) ? "readable\\n" : "$!\\n";
"""


@pytest.mark.parametrize("after", ["gone", "file"])
def test_what_is_opened_by_name_is_gone(workshop: Workshop, after: str) -> None:
    """A directory that the program has removed at its end;
    beside it a file of the kernel that is still there.
    """
    place = workshop.directory / "place"
    place.mkdir()
    (workshop.directory / "link").symlink_to("/proc/version")
    original = workshop.start(
        ["/usr/bin/perl", "-e", DIRECTORY, place, workshop.directory / "link"]
    )
    original.ready()
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    place.rmdir()
    if after == "file":
        place.write_text("precious")
    for _ in range(3):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        assert result.status == 0 and result.output.splitlines() == [
            "a directory",
            "readable",
        ], f"{result}"
        (said,) = notes(result)
        assert str(place) in said and said.endswith(
            "an empty directory without a name is in its place"
        ), said
    assert after == "gone" or place.read_text() == "precious"


def test_another_process(workshop: Workshop) -> None:
    """A file of it is read as long as it runs; a pidfd comes back as one of
    a process that has ended.
    """
    watched = workshop.start(["sleep", "1000"])
    original = workshop.start_program("fd_outside", "process", str(watched.pid))
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    said = [
        line for line in saved.fidelity if "pipe" not in line and "come back as it was" not in line
    ]
    ended = (
        "comes back as that of a process that has ended: "
        f"process {watched.pid} is no part of the snapshot"
    )
    assert said == [f"changed: fd 4: pidfd: {ended}"], saved.result.output
    original.kill()
    restart = workshop.restart(saved.image)
    restart.send("runs")
    result = restart.finish()
    passed(result, original.nonce)
    assert not notes(result), f"{result}"
    watched.kill()
    for _ in range(2):
        restart = workshop.restart(saved.image)
        restart.send("has ended")
        result = restart.finish()
        passed(result, original.nonce)
        gone = (
            f"fd 3: process {watched.pid} has ended since the save: "
            f"/proc/{watched.pid}/comm tells nothing any more"
        )
        assert notes(result) == [gone], f"{result}"


def test_port_is_taken(workshop: Workshop) -> None:
    """The original still listens there: the restored program listens elsewhere,
    and the user is told where.
    """
    original = workshop.start_program("fd_inet", "bound")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    said = notes(result)
    assert len(said) == 1 and "is taken" in said[0] and "instead" in said[0], f"{result}"
    assert "the port is" in result.output, f"{result}"  # the program has noticed
    original.send()
    passed(original.finish(), original.nonce)


@pytest.mark.parametrize("subject", ["listening_path", "listening_abstract"])
def test_name_is_taken(workshop: Workshop, subject: str) -> None:
    original = workshop.start_program("fd_unix", subject)
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    said = notes(result)
    assert len(said) == 1 and (
        "another process uses" in said[0] or "is taken" in said[0]
    ), f"{result}"
    # The original has not lost its name by it.
    original.send()
    passed(original.finish(), original.nonce)


def test_name_is_a_file(workshop: Workshop) -> None:
    """What a user has put in the place of the socket stays."""
    original = workshop.start_program("fd_unix", "listening_path")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    (path,) = [path for path in workshop.directory.iterdir() if path.is_socket()]
    path.unlink()
    path.write_text("precious")
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    assert any("is no socket any more" in line for line in notes(result)), f"{result}"
    assert path.read_text() == "precious"


def test_directory_of_name_is_gone(workshop: Workshop) -> None:
    place = workshop.directory / "gone"
    place.mkdir()
    original = workshop.start_program(
        "fd_unix", "listening_path", environment={"SOCKET_DIRECTORY": "gone"}
    )
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    for path in place.iterdir():
        path.unlink()
    place.rmdir()
    restart = workshop.restart(saved.image)
    restart.send()
    result = restart.finish()
    assert any(
        "cannot be made again (No such file or directory" in line for line in notes(result)
    ), f"{result}"


def test_lock_is_taken(workshop: Workshop) -> None:
    original = workshop.start_program("fd_files", "posix_lock")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image, "--files", "real")
    restart.send()
    said = notes(restart.finish())
    # Two may read at once.
    assert (
        len(said) == 1 and "the process that was saved still runs and has locked it" in said[0]
    ), said
    original.send()
    passed(original.finish(), original.nonce)


def test_watched_directory_is_gone(workshop: Workshop) -> None:
    original = workshop.start_program("fd_files", "inotify")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    (path,) = [path for path in workshop.directory.iterdir() if path.name.endswith("watched")]
    path.rmdir()
    restart = workshop.restart(saved.image)
    restart.send()
    said = notes(restart.finish())
    assert any("cannot be made again" in line and str(path) in line for line in said), said


def test_watched_file_in_a_sandbox(workshop: Workshop) -> None:
    """There it has another device, and is the same file."""
    probes.need_overlays()
    original = workshop.start_program("fd_files", "inotify")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image, "--files", "sandbox")
    restart.send()
    said = notes(restart.finish())
    assert not any("another file" in line for line in said), said
    original.kill()


def test_memory_file_without_its_content(workshop: Workshop) -> None:
    """The store has lost it: nothing is started."""
    original = workshop.start_program("fd_files", "memfd")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    (kept,) = [path for path in workshop.store.glob("objects/*/*/*") if "of-the-test" in path.name]
    kept.unlink()
    assert "/memfd:of-the-test" in workshop.refused(saved.image)


def test_descriptor_limit(workshop: Workshop) -> None:
    """Room is needed for the descriptors: too little is an error that says so."""
    original = workshop.start_program("fd_epoll", "many")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    line = workshop.refused(saved.image, before_exec=_few_descriptors)
    assert "RLIMIT_NOFILE" in line or "Too many open files" in line, line


def _few_descriptors() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
