"""A restored program beside the process that was saved, which still runs:
neither finds traces of the other.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import oracle, probes
from support.checkpoint import IDS, Way, Workshop, full, notes, passed, restored_pid
from support.oracle import fingerprint
from support.processes import Result, Running, read_text

SUBJECTS = """
    posix_memory mapped_file named_semaphore named_queue written_file two_files byte_fifo
    reuse_port_udp reuse_address_udp reuse_port_tcp segment semaphores queue
""".split()
KNOWN_BY_NUMBER = ["segment", "semaphores", "queue"]
SYSTEM_V = "the program's System V objects are its own, under their old ids: others do not see them"
MOVED = [subject for subject in SUBJECTS if subject.startswith("reuse")]


def test_list_is_complete(workshop: Workshop) -> None:
    assert (
        workshop.start([workshop.program("fd_shared"), "--list"]).finish().output.split()
        == SUBJECTS
    )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_alone(workshop: Workshop, subject: str) -> None:
    """The test itself is right: the program passes without any checkpoint."""
    running = workshop.start_program("fd_shared", subject)
    running.send()
    passed(running.finish(), running.nonce)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_not_beside_anybody(workshop: Workshop, subject: str) -> None:
    """With the original gone they are the program's own things, and nothing is said."""
    original = workshop.start_program("fd_shared", subject)
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid)
    original.kill()
    restart = workshop.restart(saved.image)
    restored_pid(restart, before)
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    # The dead one's segment is still there, by the number that the program knows.
    assert notes(result) == ([SYSTEM_V] if subject == "segment" else []), f"{result}"


@pytest.mark.parametrize("subject", KNOWN_BY_NUMBER)
def test_numbers_are_good_for_many_restores(workshop: Workshop, subject: str) -> None:
    """The program removes what it has at its end; the next restore has it again, for root also one
    from a save of the restored. An ordinary user may not look into the namespace that the restored
    program is in.
    """
    original = workshop.start_program("fd_shared", subject)
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    image = workshop.save(original.pid).image
    original.send()
    passed(original.finish(), original.nonce)
    for _ in range(3):
        restart = workshop.restart(image)
        pid = restored_pid(restart, before)
        oracle.wait_asleep(pid)
        again = workshop.save(pid)
        if os.geteuid() == 0:
            image = again.image
        elif subject != "segment":
            assert "System V objects" in again.result.output, again.result.output
        result = _finish(restart)
        if subject == "segment" and os.geteuid() != 0:
            # Nobody has the number, and an ordinary user may not choose it.
            assert "System V shared memory" in "\n".join(notes(result)), f"{result}"
        else:
            passed(result, original.nonce)


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("change", ["another message", "gone"])
def test_a_named_queue_that_is_not_as_it_was(workshop: Workshop, change: str, ids: str) -> None:
    """It is another program's by now, which goes on with it."""
    original = workshop.start_program("fd_shared", "named_queue")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    library = ctypes.CDLL(None, use_errno=True)
    name = f"/ckpt-test-{original.nonce[:8]}".encode()
    queue = library.mq_open(name, os.O_RDWR | os.O_NONBLOCK)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    try:
        if change == "gone":
            assert library.mq_unlink(name) == 0
        else:
            assert library.mq_send(queue, b"more", 4, 1) == 0
        # The program removes the name when it ends.
        for why in ["is gone"] * 2 if change == "gone" else ["has changed", "is gone"]:
            result = _finish(workshop.restart_as(ids, [original.pid], saved.image))
            passed(result, original.nonce)
            (said,) = notes(result)
            assert said.startswith(f"message queue {name.decode()} {why} since the snapshot: ")
        room = ctypes.create_string_buffer(30)
        for text in [b"waits"] if change == "gone" else [b"waits", b"more"]:
            length = library.mq_receive(queue, room, len(room), None)
            assert room.raw[:length] == text
        assert library.mq_receive(queue, room, len(room), None) == -1
    finally:
        library.mq_unlink(name)
        os.close(queue)


QUEUE = """
$| = 1;
$queue = msgget(0, 01600);
unless (fork) {
    msgsnd($queue, pack("l! a*", 5, "from the child"), 0);
    print "READY x\\n";
    sleep;
}
<STDIN>;
msgrcv($queue, $message, 100, 0, 04000) or die "msgrcv: $!";
print substr($message, 8), "\\n";
msgctl($queue, 0, 0);
"""


def test_the_queue_of_a_child_that_runs(workshop: Workshop) -> None:
    """The child was the last to use it, and comes back as killed;
    the queue is the program's, too.
    """
    original = workshop.start(["/usr/bin/perl", "-e", QUEUE])
    original.ready()
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    assert (
        sum("System V message queue" in line for line in saved.fidelity) == 1
    ), saved.result.output
    (child,) = read_text(f"/proc/{original.pid}/task/{original.pid}/children").split()
    os.kill(int(child), signal.SIGKILL)
    original.kill()
    for _ in range(3):
        result = _finish(workshop.restart(saved.image))
        assert result.status == 0 and "from the child\n" in result.output, f"{result}"


@contextmanager
def _both(
    workshop: Workshop, subject: str, way: Way, *options: str
) -> Iterator[tuple[Running, Running]]:
    """The process that was saved, and what was restored beside it, both waiting to be let go."""
    original = workshop.start_program("fd_shared", subject, way=way)
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid)
    oracle.wait_asleep(original.pid)
    # Its ids are taken.
    restart = workshop.restart(saved.image, *options)
    restored_pid(restart, before)
    yield original, restart


def _finish(running: Running) -> Result:
    running.send()
    return running.finish()


def _said(result: Result, subject: str, original: Running) -> None:
    said = notes(result)
    if subject in MOVED:
        assert len(said) == 2 and all(
            "is taken" in line and "instead" in line for line in said
        ), f"{result}"
    elif subject in KNOWN_BY_NUMBER:
        assert said == [SYSTEM_V], f"{result}"
    elif subject == "named_queue":
        (line,) = said
        assert line.startswith("message queue /ckpt-test-") and line.endswith(
            " is used by the process that was saved: the program gets a private copy of what it was"
        )
    else:
        assert len(said) == 1 and said[0].startswith(
            f"process {original.pid}, which was saved, still runs: "
        ), f"{result}"
        how = "in a sandbox over" if probes.overlays() else "the program gets private copies of"
        assert how in said[0], f"{result}"


@pytest.mark.parametrize("way", full(threads=(1, 4), ids=("auto",)), ids=str)
@pytest.mark.parametrize("first", ["copy", "original"])
@pytest.mark.parametrize("subject", SUBJECTS)
def test_neither_disturbs_the_other(workshop: Workshop, subject: str, first: str, way: Way) -> None:
    with _both(workshop, subject, way) as (original, restart):
        if first == "original":
            passed(_finish(original), original.nonce)
            result = _finish(restart)
        else:
            result = _finish(restart)
            passed(_finish(original), original.nonce)
        passed(result, original.nonce)
        _said(result, subject, original)


def test_files_real_shares_them(workshop: Workshop) -> None:
    """Asked for, the two have their files in common, as two processes that opened them."""
    with _both(workshop, "mapped_file", Way(), "--files", "real") as (original, restart):
        result = _finish(restart)
        passed(result, original.nonce)
        assert not notes(result), f"{result}"
        theirs = _finish(original)
        assert theirs.status == 1 and "the variable is 42" in theirs.output, f"{theirs}"


def test_files_strict_refuses(workshop: Workshop) -> None:
    original = workshop.start_program("fd_shared", "written_file")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    line = workshop.refused(saved.image, "--files", "strict")
    assert (
        "written would be written to" in line
        and f"process {original.pid}, which was saved, still runs" in line
    )
    passed(_finish(original), original.nonce)


# --- somebody else writes to the files ------------------------------------------------------------


@pytest.mark.parametrize("how", ["descriptor", "mapping"])
def test_somebody_else_writes_to_a_file(workshop: Workshop, how: str) -> None:
    """Both files of the program come back as copies; the file is as the other one leaves it."""
    original = workshop.start_program("fd_shared", "two_files")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    data, journal = workshop.directory / "data", workshop.directory / "journal"
    script = {
        "descriptor": "f = open(sys.argv[1], 'r+b')",
        "mapping": "f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close()",
    }[how]
    writer = workshop.start(
        [
            "/usr/bin/python3",
            "-c",
            f"import sys, mmap\n{script}\nprint('READY 0', flush=True)\nsys.stdin.readline()",
            data,
        ]
    )
    writer.ready()
    before = fingerprint(data), fingerprint(journal)
    result = _finish(workshop.restart(saved.image))
    passed(result, original.nonce)
    (said,) = notes(result)
    assert re.match(
        rf"process {writer.pid} \(python3[^)]*\) can write to {re.escape(str(data))}: ", said
    ), said
    how = (
        "in a sandbox over {}"
        if probes.overlays()
        else "the program gets private copies of {}/data"
    )
    assert how.format(workshop.directory) in said, said
    assert (fingerprint(data), fingerprint(journal)) == before


def test_a_reader_is_nobody_to_be_kept_from(workshop: Workshop) -> None:
    original = workshop.start_program("fd_shared", "two_files")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    with (workshop.directory / "data").open("rb") as file:
        result = _finish(workshop.restart(saved.image))
        passed(result, original.nonce)
        assert not notes(result), f"{result}"
        assert file.read() == b"data!"


# --- one program's files are decided together -----------------------------------------------------

# There both kinds of namespaces that a sandbox takes are had from the system, but not the sandbox.
NO_MOUNTS = 'echo 0 > /proc/sys/user/max_mnt_namespaces; exec "$@"'


def _restart(workshop: Workshop, image: Path, sandbox: bool, *options: str) -> Running:
    command = workshop.restart_command(image, *options)
    if not sandbox and not probes.namespaces("--user"):
        pytest.skip("there are no user namespaces, in which mounts could be forbidden")
    return workshop.start(
        command if sandbox else ["unshare", "-U", "-r", "sh", "-c", NO_MOUNTS, "sh", *command]
    )


@pytest.mark.parametrize("sandbox", [True, False], ids=["sandbox", "private"])
@pytest.mark.parametrize("changed", ["data", "journal"])
def test_one_file_has_changed(workshop: Workshop, changed: str, sandbox: bool) -> None:
    """What the program writes to comes back together, all of it: never half of a transaction."""
    if sandbox:
        probes.need_overlays()
    original = workshop.start_program("fd_shared", "two_files")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    files = {name: workshop.directory / name for name in ("data", "journal")}
    files[changed].write_text("other")
    before = {name: fingerprint(path) for name, path in files.items()}
    for _ in range(5):
        result = _finish(_restart(workshop, saved.image, sandbox))
        passed(result, original.nonce)
        said = "\n".join(notes(result))
        assert f"{files[changed]} has changed since the snapshot: " in said, said
        if sandbox:
            assert f"in a sandbox over {workshop.directory} " in said, said
        else:
            assert (
                f"the program gets private copies of {files['data']}, {files['journal']}; by name"
                in said
            ), said
        assert {name: fingerprint(path) for name, path in files.items()} == before


def test_output_goes_where_the_user_says(workshop: Workshop) -> None:
    """Not into the sandbox, which goes with the program."""
    probes.need_overlays()
    original = workshop.start_program("fd_shared", "two_files")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    (workshop.directory / "data").write_text("other")
    answers, output = (workshop.directory / name for name in ("answers", "output"))
    answers.write_bytes(b"go\n")
    result = workshop.restart(saved.image, "--stdin", answers, "--stdout", output).finish()
    assert any(
        f"in a sandbox over {workshop.directory} " in line for line in notes(result)
    ), f"{result}"
    assert result.status == 0 and output.read_text() == f"PASS {original.nonce}\n", f"{result}"


def test_one_file_may_not_be_written_to_any_more(workshop: Workshop) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write to any file; the ordinary user runs this")
    original = workshop.start_program("fd_shared", "two_files")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    (workshop.directory / "journal").chmod(0o400)
    result = _finish(workshop.restart(saved.image))
    passed(result, original.nonce)
    assert any("journal may not be opened any more" in line for line in notes(result)), f"{result}"
    assert (workshop.directory / "data").read_bytes() == b"data"


@pytest.mark.parametrize("sandbox", [True, False], ids=["sandbox", "private"])
def test_a_file_too_large_to_be_kept_is_copied_as_it_is(workshop: Workshop, sandbox: bool) -> None:
    """It is as it was, which is as good as a copy in the store."""
    if sandbox:
        probes.need_overlays()
    original = workshop.start_program("fd_shared", "two_files")
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid, None, "--file-limit", "5")
    original.kill()
    journal = workshop.directory / "journal"
    (workshop.directory / "data").write_text("other")
    before = fingerprint(journal)
    result = _finish(_restart(workshop, saved.image, sandbox))
    passed(result, original.nonce)
    assert fingerprint(journal) == before
