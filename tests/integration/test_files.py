"""Open files and file mappings: what comes back, what the user is told,
and that nothing of the user's is touched.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import oracle
from support.checkpoint import Way, Workshop, notes, pairwise, passed, restored_pid, round_trip
from support.forge import Forgery
from support.oracle import fingerprint
from support.processes import Running, as_root

HOWS = ["read", "write", "append", "dup", "stdio", "many"]
WAYS = [pytest.param(way, id=str(way)) for way in pairwise(threads=(1, 4))]


def _data(workshop: Workshop, size: int = 6000) -> Path:
    path = workshop.directory / "data file"
    path.write_bytes(os.urandom(size - 16).hex().encode()[: size - 1] + b"\n")
    return path


def _links(pid: int) -> dict[int, str]:
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            pass
    return found


def _saved_and_killed(
    workshop: Workshop, how: str, data: Path, *options: str
) -> tuple[Running, Path, oracle.Look]:
    """A program with `data` open, saved and killed:
    nothing but the test touches the file afterwards.
    """
    original = workshop.start_program("open_file", how, data)
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid, workshop.register_dump)
    saved = workshop.save(original.pid, None, *options)
    original.kill()
    return original, saved.image, before


# --- a file that is as it was ---------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["read", "dup", "stdio", "many"])
def test_unchanged(workshop: Workshop, how: str, way: Way) -> None:
    """The same file, at the same offset, without a word."""
    data = _data(workshop)
    before = fingerprint(data)
    round_trip(workshop, "open_file", how, data, way=way)
    assert fingerprint(data) == before


@pytest.mark.parametrize("how", HOWS)
def test_unchanged_is_the_real_file(workshop: Workshop, how: str) -> None:
    data = _data(workshop)
    original, image, before = _saved_and_killed(workshop, how, data)
    restart = workshop.restart(image)
    pid = restored_pid(restart, before)
    changed = oracle.differences(before, oracle.look(pid, workshop.register_dump))
    assert not changed, "\n".join(changed)
    assert os.stat(f"/proc/{pid}/fd/{max(_links(pid))}").st_ino == data.stat().st_ino
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    assert not notes(result)


def test_the_same_file_behind_a_link(workshop: Workshop) -> None:
    """The program did not want links followed when it opened the file: that is over."""
    data = _data(workshop)
    original, image, _ = _saved_and_killed(workshop, "read", data)
    data.symlink_to(data.rename(data.with_name("its new place")))
    restart = workshop.restart(image)
    restart.send()
    passed(restart.finish(), original.nonce)


def test_writes_after_the_restore_reach_the_real_file(workshop: Workshop) -> None:
    data = _data(workshop)
    original, image, _ = _saved_and_killed(workshop, "append", data)
    expected = data.read_bytes()
    restart = workshop.restart(image)
    restart.send()
    passed(restart.finish(), original.nonce)
    assert data.read_bytes() == expected + b"after\n"


# --- a file that changed --------------------------------------------------------------------------


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more lines\n")


def _truncate(path: Path) -> None:
    os.truncate(path, 10)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _overwrite_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"something else")


def _overwrite_in_secret(path: Path) -> None:
    """Same size, same inode, and the old mtime put back."""
    status = path.stat()
    _overwrite_in_place(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(path: Path) -> None:
    other = path.with_name("replacement")
    other.write_bytes(b"another file altogether\n" * 300)
    other.rename(path)


def _delete(path: Path) -> None:
    path.unlink()


def _become_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _become_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _directory_moves(path: Path) -> None:
    path.parent.rename(path.parent.with_name(path.parent.name + " moved"))


def _take_permission(path: Path) -> None:
    path.chmod(0)


def _name_of(change: Callable[[Path], None]) -> str:
    return change.__name__.strip("_")


CHANGES = [
    _append, _truncate, _empty, _overwrite_in_place, _overwrite_in_secret, _replace, _delete,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=_name_of)
@pytest.mark.parametrize("how", HOWS)
def test_changed(workshop: Workshop, how: str, change: Callable[[Path], None]) -> None:
    """The program gets a private copy of the content at the save, the user is told, the user's file
    stays untouched; and the third restore is as the first.
    """
    data = _data(workshop)
    original, image, before = _saved_and_killed(workshop, how, data)
    change(data)
    theirs = fingerprint(data)
    for _ in range(3):
        restart = workshop.restart(image)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        said = [note for note in notes(result) if str(data) in note]
        assert len(said) == 1, f"{result}"
        assert fingerprint(data) == theirs


@pytest.mark.parametrize(
    "change", [_become_a_directory, _become_a_fifo, _take_permission], ids=_name_of
)
def test_may_no_longer_be_opened(workshop: Workshop, change: Callable[[Path], None]) -> None:
    if change is _take_permission and as_root():
        pytest.skip("root may open any file")
    data = _data(workshop)
    original, image, _ = _saved_and_killed(workshop, "write", data)
    change(data)
    restart = workshop.restart(image)
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    assert any(str(data) in note for note in notes(result)), f"{result}"


def test_its_directory_moved(workshop: Workshop) -> None:
    home = workshop.directory / "home"
    home.mkdir()
    data = home / "data"
    data.write_bytes(b"0123456789\n" * 200)
    original, image, _ = _saved_and_killed(workshop, "write", data)
    _directory_moves(data)
    restart = workshop.restart(image)
    restart.send()
    result = restart.finish()
    passed(result, original.nonce)
    assert any(str(data) in note for note in notes(result)), f"{result}"
    assert not home.exists()


def test_the_original_went_on_writing(workshop: Workshop) -> None:
    """The most common change of all. Ten restores, each the same."""
    data = _data(workshop)
    original = workshop.start_program("open_file", "append", data)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    theirs = fingerprint(data)
    for _ in range(10):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert any(str(data) in note for note in notes(result)), f"{result}"
        assert fingerprint(data) == theirs


def test_only_the_time_changed(workshop: Workshop) -> None:
    """Touched, content as it was: comes back, one way or the other, and the file stays as it is."""
    data = _data(workshop)
    original, image, _ = _saved_and_killed(workshop, "read", data)
    os.utime(data, ns=(1, 2_000_000_000))
    theirs = fingerprint(data)
    restart = workshop.restart(image)
    restart.send()
    passed(restart.finish(), original.nonce)
    assert fingerprint(data) == theirs


def test_scratch_copies_do_not_pile_up(workshop: Workshop) -> None:
    data = _data(workshop)
    original, image, _ = _saved_and_killed(workshop, "write", data)
    _delete(data)

    def files() -> set[str]:
        return {str(p) for p in workshop.directory.rglob("*") if p.is_file()}

    before = files()
    for _ in range(3):
        restart = workshop.restart(image)
        restart.send()
        passed(restart.finish(), original.nonce)
    assert files() - before == set()


# --- --files and --file ---------------------------------------------------------------------------


def test_files_private(workshop: Workshop) -> None:
    data = _data(workshop)
    original, image, _ = _saved_and_killed(workshop, "write", data)
    theirs = fingerprint(data)
    restart = workshop.restart(image, "--files", "private")
    restart.send()
    passed(restart.finish(), original.nonce)
    assert fingerprint(data) == theirs


def test_files_real_takes_what_is_there(workshop: Workshop) -> None:
    data = _data(workshop)
    original, image, before = _saved_and_killed(workshop, "read", data)
    content = data.read_bytes()
    data.unlink()
    data.write_bytes(content)  # same content, another file
    restart = workshop.restart(image, "--files", "real")
    pid = restored_pid(restart, before)
    assert os.stat(f"/proc/{pid}/fd/{max(_links(pid))}").st_ino == data.stat().st_ino
    restart.send()
    passed(restart.finish(), original.nonce)


def test_files_real_without_the_file(workshop: Workshop) -> None:
    data = _data(workshop)
    _, image, _ = _saved_and_killed(workshop, "read", data)
    data.unlink()
    assert str(data) in workshop.refused(image, "--files", "real")


@pytest.mark.parametrize("change", CHANGES, ids=_name_of)
def test_files_strict(workshop: Workshop, change: Callable[[Path], None]) -> None:
    data = _data(workshop)
    original, image, _ = _saved_and_killed(workshop, "read", data)
    restart = workshop.restart(image, "--files", "strict")
    restart.send()
    passed(restart.finish(), original.nonce)
    change(data)
    theirs = fingerprint(data)
    assert str(data) in workshop.refused(image, "--files", "strict")
    assert fingerprint(data) == theirs


def test_file_moved(workshop: Workshop) -> None:
    data = _data(workshop)
    original, image, before = _saved_and_killed(workshop, "read", data)
    moved = data.with_name("moved here")
    data.rename(moved)
    restart = workshop.restart(image, "--file", f"{data}={moved}")
    pid = restored_pid(restart, before)
    assert os.stat(f"/proc/{pid}/fd/{max(_links(pid))}").st_ino == moved.stat().st_ino
    restart.send()
    passed(restart.finish(), original.nonce)


@pytest.mark.parametrize("value", ["", "x", "=", "=y"])
def test_bad_file_option(workshop: Workshop, value: str) -> None:
    data = _data(workshop)
    _, image, _ = _saved_and_killed(workshop, "read", data)
    result = workshop.restart(image, "--file", value).finish()
    assert result.status == 125 and result.errors and not result.output, f"{result}"


def test_changed_file_too_large_to_have_been_kept(workshop: Workshop) -> None:
    data = _data(workshop)
    original, image, _ = _saved_and_killed(workshop, "read", data, "--file-limit", "1000")
    restart = workshop.restart(image)  # as it was: fine
    restart.send()
    passed(restart.finish(), original.nonce)
    _append(data)
    theirs = fingerprint(data)
    assert str(data) in workshop.refused(image)
    assert fingerprint(data) == theirs


WRITER = """
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
if sys.argv[2] == "mapped":
    place = mmap.mmap(file, 0)
    os.close(file)
    look, change = lambda: place[:6], lambda: place.__setitem__(slice(0, 6), b"after!")
else:
    look, change = lambda: os.pread(file, 6, 0), lambda: os.pwrite(file, b"after!", 0)
print("READY x", flush=True)
sys.stdin.readline()
print(look().decode(), flush=True)
change()
"""


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_large_file_that_the_program_writes_to(workshop: Workshop, how: str) -> None:
    """It changes as soon as the program goes on, and is kept: as much of it as there is, and each
    restore sees it as it was.
    """
    data = workshop.directory / "large"
    with data.open("wb") as file:
        file.write(b"before")
        file.truncate(200 << 20)
    original = workshop.start(["/usr/bin/python3", "-c", WRITER, data, how])
    original.ready()
    saved = workshop.save(original.pid)
    assert not any(str(data) in line for line in saved.fidelity), saved.result.output
    original.send()
    assert original.finish().output.endswith("before\n")
    for _ in range(3):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        assert result.status == 0 and result.output == "before\n", f"{result}"
    assert data.read_bytes()[:6] == b"after!"


@pytest.mark.parametrize("how", ["open", "mapped"])
def test_file_that_is_too_large_although_the_program_writes_to_it(
    workshop: Workshop, how: str
) -> None:
    data = workshop.directory / "large"
    data.write_bytes(b"before" + bytes(100000))
    original = workshop.start(["/usr/bin/python3", "-c", WRITER, data, how])
    original.ready()
    saved = workshop.save(original.pid, None, "--file-limit", "1000")
    said = [line for line in saved.fidelity if f"{data} is larger" in line]
    # Python's mapping has a descriptor of its own.
    objects = [r"lost: fd \d+: file: "] + (
        [r"lost: memory \S+: mapped file: "] if how == "mapped" else []
    )
    assert len(said) == len(objects) and all(
        re.match(*pair) for pair in zip(objects, said)
    ), saved.result.output
    original.send()
    assert original.finish().output.endswith("before\n")


# --- standard streams -----------------------------------------------------------------------------


def test_stdout_is_a_file(workshop: Workshop) -> None:
    log = workshop.directory / "log"
    with log.open("wb") as sink:
        original = workshop.start([workshop.program("exit_status"), "5"], stdout=sink)
        oracle.wait_asleep(original.pid)
        saved = workshop.save(original.pid)
    at_save = log.read_bytes()
    assert at_save.startswith(b"READY ")
    nonce = at_save.split()[1]
    original.send()
    assert original.finish().status == 5
    assert log.read_bytes() == at_save + b"PASS " + nonce + b"\n"
    theirs = fingerprint(log)
    for _ in range(2):
        # Changed since: the output goes to a private copy, which the user is told.
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        assert result.status == 5, f"{result}"
        assert any(str(log) in note for note in notes(result)), f"{result}"
        assert fingerprint(log) == theirs
    # As it was: it is appended to.
    os.truncate(log, len(at_save))
    restart = workshop.restart(saved.image, "--files", "real")
    restart.send()
    assert restart.finish().status == 5
    assert log.read_bytes() == at_save + b"PASS " + nonce + b"\n"


def test_stdout_somewhere_else(workshop: Workshop) -> None:
    original = workshop.start_program("exit_status", "5")
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce, status=5)
    answers, output, errors = (
        workshop.directory / name for name in ("answers", "output", "errors")
    )
    answers.write_bytes(b"go\n")
    restart = workshop.restart(
        saved.image, "--stdin", answers, "--stdout", output, "--stderr", errors
    )
    result = restart.finish()
    assert result.status == 5 and not result.output, f"{result}"
    assert output.read_text() == f"PASS {original.nonce}\n"
    assert errors.read_text() == ""


def test_stdout_does_not_overwrite(workshop: Workshop) -> None:
    original = workshop.start_program("exit_status", "0")
    saved = workshop.save(original.pid)
    precious = workshop.directory / "precious"
    precious.write_bytes(b"of the user's")
    theirs = fingerprint(precious)
    restart = workshop.restart(saved.image, "--stdout", precious)
    if restart.poll() is None:
        restart.send(may_have_ended=True)
    restart.finish()
    now = fingerprint(precious)
    assert now and theirs and now[0].startswith(theirs[0]), "the user's file was truncated"


def test_missing_stdin_file(workshop: Workshop) -> None:
    original = workshop.start_program("exit_status", "0")
    saved = workshop.save(original.pid)
    assert "nowhere" in workshop.refused(saved.image, "--stdin", workshop.directory / "nowhere")


def test_stdin_is_a_file(workshop: Workshop) -> None:
    """It goes on reading where it was; stdin is a regular file like any other."""
    script = workshop.directory / "script"
    lines = [f"{number} * 3\n" for number in range(1, 4000)]
    script.write_text("".join(lines))
    with script.open("rb") as source:
        running = workshop.start(
            [workshop.program("open_file"), "read", _data(workshop)], stdin=source
        )
        result = running.finish()  # a line is there at once
    assert result.status == 0, f"{result}"


def test_closed_standard_streams(workshop: Workshop) -> None:
    """A program that has closed its stdin and stderr: they stay closed."""
    script = (
        "import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); "
        "os.close(0); os.close(2); "
        "print('READY x', flush=True); signal.sigwait([signal.SIGUSR1]); "
        "print(os.listdir('/proc/self/fd'), flush=True)"
    )
    original = workshop.start(["/usr/bin/python3", "-c", script])
    original.ready()
    oracle.wait_asleep(original.pid)
    before = oracle.look(original.pid)
    saved = workshop.save(original.pid)
    restart = workshop.restart(saved.image)
    os.kill(restored_pid(restart, before), signal.SIGUSR1)
    os.kill(original.pid, signal.SIGUSR1)
    said = original.finish().output.splitlines()[1]
    # One of the two numbers is the listing's own descriptor.
    assert "'0'" not in said or "'2'" not in said
    assert restart.finish().output == said + "\n"


# --- other descriptors ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_devices_and_directories(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "devices", way=way)


def test_a_fifo_has_the_name_now(workshop: Workshop) -> None:
    """Nobody waits for its other end."""
    original = workshop.start_program("devices")
    oracle.wait_asleep(original.pid)
    forgery = Forgery(workshop.save(original.pid).image)
    original.kill()
    fifo = workshop.directory / "fifo"
    os.mkfifo(fifo)
    described = forgery.shared["descriptions"]
    only_read = [
        each
        for each in described
        if each["path"].startswith("/dev/") and each["flags"] & os.O_ACCMODE == os.O_RDONLY
    ]
    assert only_read
    for each in only_read:
        each["path"] = str(fifo)
    line = workshop.refused(forgery.write(workshop.new_image()))
    assert f"{fifo}: it is a FIFO by now" in line, line


@pytest.mark.parametrize("place", ["unused", "used", "directory"])
def test_another_thing_has_the_fifos_name(workshop: Workshop, place: str) -> None:
    """A FIFO that nobody uses is as good as its own;
    anything else is left alone, and that is said.
    """
    original = workshop.start_program("fd_files", "fifo")
    oracle.wait_asleep(original.pid)
    links = (
        os.readlink(f"/proc/{original.pid}/fd/{fd}")
        for fd in os.listdir(f"/proc/{original.pid}/fd")
    )
    fifo = next(link for link in links if link.endswith("-fifo"))
    saved = workshop.save(original.pid)
    original.kill()
    os.rename(fifo, fifo + "-then")  # its inode is not to be had
    if place == "directory":
        os.mkdir(fifo)
    else:
        os.mkfifo(fifo)
    with ExitStack() as user:
        if place == "used":
            user.enter_context(open(fifo, "r+b", buffering=0))
        restart = workshop.restart(saved.image)
        restored_pid(restart)
        restart.send()
        result = restart.finish()
    why = {
        "used": "is another one by now, which another process uses",
        "directory": "is another kind of file by now",
    }
    expected = (
        [f"FIFO {fifo} {why[place]}: the program gets a pipe of its own"] if place in why else []
    )
    assert notes(result) == expected, f"{result}"
    if place == "unused":
        passed(result, original.nonce)


@pytest.mark.parametrize("way", WAYS)
def test_files_without_a_name(workshop: Workshop, way: Way) -> None:
    # Its path differs: the scratch copy's instead of the deleted file's.
    # Restored, it is said to be a copy.
    original = workshop.start_program("unlinked_file", workshop.directory, way=way)
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    for _ in range(2):
        restart = workshop.restart(saved.image, "--ids", way.ids)
        restart.send()
        passed(restart.finish(), original.nonce)


@pytest.mark.parametrize("way", WAYS)
def test_own_pipes(workshop: Workshop, way: Way) -> None:
    round_trip(workshop, "own_pipe", way=way)


# --- mappings -------------------------------------------------------------------------------------


def _pages(workshop: Workshop) -> Path:
    path = workshop.directory / "pages"
    path.write_bytes(os.urandom(5 * 4096 + 1000))
    return path


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("how", ["readonly", "private"])
def test_mapping_of_an_unchanged_file(workshop: Workshop, how: str, way: Way) -> None:
    pages = _pages(workshop)
    theirs = fingerprint(pages)
    round_trip(workshop, "file_mapping", how, pages, way=way)
    assert fingerprint(pages) == theirs


@pytest.mark.parametrize("change", CHANGES, ids=_name_of)
@pytest.mark.parametrize("how", ["shared", "readonly", "private"])
def test_mapping_of_a_changed_file(
    workshop: Workshop, how: str, change: Callable[[Path], None]
) -> None:
    pages = _pages(workshop)
    original = workshop.start_program("file_mapping", how, pages)
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.kill()
    change(pages)
    theirs = fingerprint(pages)
    for _ in range(2):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert any(str(pages) in note for note in notes(result)), f"{result}"
        assert fingerprint(pages) == theirs


def test_shared_mapping_without_writing_to_the_file(workshop: Workshop) -> None:
    """The original has gone on writing through its mapping:
    a restore must not put the old pages back into the file.
    """
    pages = _pages(workshop)
    original = workshop.start_program("file_mapping", "shared", pages)
    oracle.wait_asleep(original.pid)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    theirs = fingerprint(pages)
    for _ in range(2):
        restart = workshop.restart(saved.image)
        restart.send()
        result = restart.finish()
        passed(result, original.nonce)
        assert any(str(pages) in note for note in notes(result)), f"{result}"
        assert fingerprint(pages) == theirs


# --- the current directory ------------------------------------------------------------------------


def test_current_directory_is_gone(workshop: Workshop) -> None:
    home = workshop.directory / "home"
    home.mkdir()
    original = workshop.start_program("exit_status", "0", directory=home)
    saved = workshop.save(original.pid)
    original.send()
    passed(original.finish(), original.nonce)
    home.rmdir()
    restart = workshop.restart(saved.image)
    restart.send(may_have_ended=True)
    result = restart.finish()
    # It comes back somewhere else and says so, or does not come back and says why.
    assert str(home) in result.errors, f"{result}"
    if result.status == 0:
        passed(result, original.nonce)
    else:
        assert result.status == 125, f"{result}"
