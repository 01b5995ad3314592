"""The parking protocol, against helpers of a few lines: what is reported, what is left of a
failure.
"""

from __future__ import annotations

import gc
import os
import signal
import stat
import select
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterator, List, Optional, Tuple

import pytest
from gdbext.debugger import launch
from gdbext.errors import LaunchError

# What every helper here starts with. The "program" is a child in pause() that ends with its
# parent's word only.
PROLOGUE = f"""#!{sys.executable}
import json, os, signal, sys
words = sys.argv[1:]
report = int(words[words.index("--report-fd") + 1])
control = int(words[words.index("--control-fd") + 1])
def say(**what):
    os.write(report, json.dumps(what).encode() + b"\\n")
def park():
    pid = os.fork()
    if pid == 0:
        os.close(report)
        os.close(control)
        while True:
            signal.pause()
    return pid
"""

PARK = """
pid = park()
say(pid=pid, tids=[pid], ids="virtual", notes=["a note"])
if os.read(control, 16) != b"go\\n":
    os.kill(pid, signal.SIGKILL)
os.close(report)
os.waitpid(pid, 0)
"""

Helper = Callable[[str], Path]
OPTIONS = launch.RestartOptions(store=Path("/store"))


@pytest.fixture
def helper(tmp_path: Path) -> Helper:
    def make(body: str) -> Path:
        path = tmp_path / "ckpt-restart"
        path.write_text(PROLOGUE + body)
        path.chmod(0o755)
        return path

    return make


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Every test's helpers have ended, and no descriptor is left open."""
    # What earlier tests have left to the garbage collector may be closed at any time.
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def start(program: Path, progress: Optional[launch.ProgressCallback] = None) -> launch.Parked:
    return launch.start(program, Path("/image"), OPTIONS, progress=progress)


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie (its parent may not have collected it yet)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for_end(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    fd = os.pidfd_open(pid)
    try:
        assert select.select([fd], [], [], 20)[0]
    finally:
        os.close(fd)


def test_parked_and_taken_over(helper: Helper) -> None:
    parked = start(helper(PARK))
    assert alive(parked.pid)
    assert parked.tids == (parked.pid,)
    assert parked.ids == "virtual"
    assert parked.notes == ("a note",)
    parked.go()
    # Harmless now: the program is somebody else's.
    parked.abandon()
    assert alive(parked.pid)
    os.kill(parked.pid, signal.SIGKILL)
    os.waitpid(parked.helper, 0)


def test_abandoned(helper: Helper) -> None:
    parked = start(helper(PARK))
    parked.abandon()
    assert not alive(parked.pid)
    assert not alive(parked.helper)


def test_a_helper_that_does_not_end_is_ended(
    helper: Helper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "GRACE_S", 0.2)
    parked = start(
        helper(
            """
pid = park()
say(pid=pid, tids=[pid])
while True:
    signal.pause()
"""
        )
    )
    gone = os.pidfd_open(parked.pid)
    parked.abandon()
    assert not alive(parked.helper)
    assert select.select([gone], [], [], 20)[0]
    os.close(gone)


@pytest.mark.parametrize(
    "body, words, kind",
    [
        ('say(error="in.txt has changed", kind="files")', "^in.txt has changed$", "files"),
        ('say(error="odd")', "^odd$", "system"),
        ("sys.exit(0)", "ended without a word", "system"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "ended without a word", "system"),
        ('os.write(report, b"hello\\n")', "not understood", "system"),
        ('os.write(report, b"[1]\\n")', "not understood", "system"),
        ('os.write(report, b"{}\\n")', '"pid" is missing', "system"),
        ("say(pid=0, tids=[])", "reported process 0", "system"),
        ('say(pid="x", tids=[])', '"pid" is of type str', "system"),
        ("os.write(report, b'{\"pid\": 5')", "ended without a word", "system"),
    ],
)
def test_failures(helper: Helper, body: str, words: str, kind: str) -> None:
    with pytest.raises(LaunchError, match=words) as caught:
        start(helper(body))
    assert caught.value.kind == kind
    assert "\n" not in str(caught.value)


def test_a_report_without_an_end(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "REPORT_LIMIT_BYTES", 1000)
    with pytest.raises(LaunchError, match="no end"):
        start(
            helper(
                "signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
                "while True: os.write(report, b'x' * 4096)"
            )
        )


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot be started: No such file"):
        start(tmp_path / "nothing")


def test_progress_is_what_the_program_has_read(helper: Helper, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(3 << 20))
    # The "program" reads the image and never parks; the end of the control pipe ends both.
    body = f"""
ready, go = os.pipe()
reader = os.fork()
if reader == 0:
    open({str(image)!r}, "rb").read()
    os.write(go, b"x")
    signal.pause()
os.read(ready, 1)
os.read(control, 1)
os.kill(reader, signal.SIGKILL)
os.waitpid(reader, 0)
"""
    seen: List[Tuple[int, int]] = []

    def progress(done: int, total: int) -> bool:
        seen.append((done, total))
        return done < total

    with pytest.raises(KeyboardInterrupt):
        launch.start(helper(body), image, OPTIONS, progress=progress)
    assert seen[-1][0] >= seen[-1][1] == 3 << 20


@pytest.mark.parametrize("how", ["refuse", "raise"])
def test_an_interrupt_while_it_restores(helper: Helper, how: str) -> None:
    """The helper is told by the end of the control pipe,
    which it reads in the middle of its work.
    """

    def progress(done: int, total: int) -> bool:
        if how == "raise":
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        start(helper("os.read(control, 1)\n"), progress)


def test_what_the_helper_inherits(helper: Helper, tmp_path: Path) -> None:
    """Its own process group, no signal blocked or ignored,
    and no descriptor of ours but the two.
    """
    listing = tmp_path / "listing"
    stray = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(stray, True)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    body = f"""
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() \
if ":\\t" in line)
fds = sorted(int(fd) for fd in os.listdir("/proc/self/fd"))
stray = [fd for fd in fds if fd > 2 and fd not in (report, control) \
and os.path.exists(f"/proc/self/fd/{{fd}}")]
found = (os.getpgid(0) == os.getpid(), status["SigBlk"], int(status["SigIgn"], 16) & 2, stray)
with open({str(listing)!r}, "w") as file:
    file.write(repr(found))
"""
    try:
        parked = start(helper(body + PARK))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        signal.signal(signal.SIGINT, before)
        os.close(stray)
    parked.abandon()
    assert listing.read_text() == repr((True, "0" * 16, 0, []))


def test_a_terminal_of_its_own(helper: Helper, tmp_path: Path) -> None:
    listing = tmp_path / "listing"
    master, slave = os.openpty()
    path = os.ttyname(slave)
    body = f"open({str(listing)!r}, 'w').write(' '.join(os.ttyname(fd) for fd in (0, 1, 2)))\n"
    parked = launch.start(helper(body + PARK), Path("/image"), OPTIONS, terminal=path)
    parked.abandon()
    os.close(master)
    os.close(slave)
    assert listing.read_text() == f"{path} {path} {path}"


def test_options_as_arguments_and_as_a_table() -> None:
    options = launch.RestartOptions(
        store=Path("/s"),
        ids="virtual",
        clock="keep",
        peers="silent",
        files="private",
        file=(("/a", "/b"), ("/c", "/d")),
        stdin="/in",
        stderr="/err",
    )
    assert options.arguments() == (
        (
            "--store /s --ids virtual --clock keep --peers silent --files private --file /a=/b "
            "--file /c=/d --stdin /in --stderr /err"
        ).split()
    )
    assert options.table([])["file"] == [["/a", "/b"], ["/c", "/d"]]
    assert options.table([5])["stdout"] is None
    assert options.table([5])["ending"] == [5]


def test_reaping_what_somebody_else_reaped() -> None:
    """GDB waits for any child: the helper's status may be gone before anyone asks."""
    child = subprocess.Popen(["true"])
    os.waitpid(child.pid, 0)
    assert launch.reap(child.pid)
    child.returncode = 0


def test_reaping_one_that_runs() -> None:
    read, write = os.pipe()
    child = subprocess.Popen(["cat"], stdin=read)
    os.close(read)
    assert not launch.reap(child.pid)
    os.close(write)
    wait_for_end(child.pid)
    assert launch.reap(child.pid)
    child.returncode = 0


def test_the_helpers_file_is_executable_only_by_choice(helper: Helper) -> None:
    program = helper(PARK)
    program.chmod(stat.S_IRUSR)
    with pytest.raises(LaunchError, match="cannot be started"):
        start(program)
