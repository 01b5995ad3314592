"""Starting a snapshot for GDB: the parking protocol with `ckpt-restart --park`.

    1. We start the helper with the write end of a report pipe and the read end of a control pipe.
    2. It restores the program, parks it and writes one JSON line:
       {"pid":..,"tids":[..],"ids":..,"notes":[..],"locks":[..]} or {"error":..,"kind":..}.
    3. The caller attaches and finishes the program, then `go()`: "go\\n" on the control pipe.
    4. Without it, i.e. when the control pipe is closed (`abandon()`, or our death), the helper
       kills the program and ends.
    After "go" the helper stays: it is the program's parent and waits for its end.

GDB calls waitpid(-1) and so may collect the helper's exit status before us: what happened is
learned from the report pipe alone, and the helper's end from a pidfd.
"""

from __future__ import annotations

import json
import os
import select
import signal
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

from ..errors import LaunchError, RecordError
from ..records import MovedLock, read, read_list

if TYPE_CHECKING:
    from .. import _native

# A report is one line with a number per thread and some notes; far more than that is no report.
REPORT_LIMIT_BYTES = 16 << 20
# How long an abandoned helper may take to kill the program and end before we do both.
GRACE_S = 5.0

# Called with (done, total) bytes now and then; False cancels.
ProgressCallback = Callable[[int, int], bool]


class RestartOptions(NamedTuple):
    """The options of `ckpt-restart`; files are paths or None, `file` pairs an old with a
    new path, `env` are the changes of the environment, each NAME=VALUE.
    """

    store: Path
    ids: str = "auto"
    clock: str = "auto"
    peers: str = "reset"
    files: str = "auto"
    file: Tuple[Tuple[str, str], ...] = ()
    stdin: Optional[str] = None
    stdout: Optional[str] = None
    stderr: Optional[str] = None
    env: Tuple[str, ...] = ()

    def arguments(self) -> List[str]:
        """As command-line arguments."""
        words = ["--store", str(self.store), "--ids", self.ids, "--clock", self.clock]
        words += ["--peers", self.peers, "--files", self.files]
        for old, new in self.file:
            words += ["--file", f"{old}={new}"]
        for entry in self.env:
            words += ["--env", entry]
        for option, path in (
            ("--stdin", self.stdin),
            ("--stdout", self.stdout),
            ("--stderr", self.stderr),
        ):
            if path is not None:
                words += [option, path]
        return words

    def table(self, ending: List[int]) -> _native.RestoreOptions:
        """As the native module wants them; `ending`: processes that will be gone by the restore."""
        return {
            "store": str(self.store),
            "ids": self.ids,
            "clock": self.clock,
            "files": self.files,
            "file": [list(pair) for pair in self.file],
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr,
            "env": list(self.env),
            "ending": ending,
        }


class Parked:
    """A restored, parked program and the helper that is its parent. Ends with `go()` or
    `abandon()`.
    """

    def __init__(
        self, helper: int, report_fd: int, control_fd: int, report: Mapping[str, Any]
    ) -> None:
        self.helper = helper
        self._report_fd = report_fd
        self._control_fd = control_fd
        self.pid = read(report, "pid", int)
        self.tids: Tuple[int, ...] = read_list(report, "tids", int)
        self.ids = read(report, "ids", str, "saved")
        self.notes: Tuple[str, ...] = read_list(report, "notes", str)
        self.locks = tuple(MovedLock.of(each) for each in read_list(report, "locks", dict))
        if self.pid <= 1:
            raise RecordError(f"the helper reported process {self.pid}")

    def go(self) -> None:
        """Tell the helper that the program is the debugger's now. Raises LaunchError if the helper
        is gone.
        """
        try:
            os.write(self._control_fd, b"go\n")
        except OSError as error:
            raise LaunchError(
                f"the helper of the restored program is gone: {error.strerror}"
            ) from None
        self._close()

    def abandon(self) -> None:
        """Have the helper kill the program, and wait until both are gone; harmless after `go()`."""
        if self._control_fd < 0:
            return
        self._close()
        _await_end(self.helper, self.pid)

    def _close(self) -> None:
        for fd in (self._control_fd, self._report_fd):
            if fd >= 0:
                os.close(fd)
        self._control_fd = self._report_fd = -1


def start(
    program: Path,
    image: Path,
    options: RestartOptions,
    terminal: Optional[str] = None,
    progress: Optional[ProgressCallback] = None,
    newest_first: bool = False,
    image_fd: Optional[int] = None,
) -> Parked:
    """Restore `image` with the helper `program` and park it.

    `terminal` is the path of a terminal for the program's standard streams; None gives it ours.
    `newest_first`: the debugger numbers the threads of what it attaches to from the newest on.
    `image_fd`: the open file, where `image` is not to be opened by its path.
    `progress` is called at least ten times a second. Raises LaunchError (also for what the helper
    reports) and KeyboardInterrupt; no process is left then.
    """
    report_read, report_write = os.pipe()
    control_read, control_write = os.pipe()
    try:
        arguments = [
            str(program),
            "--park",
            "--report-fd",
            str(report_write),
            "--control-fd",
            str(control_read),
            # The caller has just had every checksum looked at.
            "--no-verify",
            *(["--numbered-newest-first"] if newest_first else []),
            *(["--image-fd", str(image_fd)] if image_fd is not None else []),
            *options.arguments(),
            str(image),
        ]
        kept = [report_write, control_read, *([] if image_fd is None else [image_fd])]
        helper = _spawn(arguments, kept, terminal)
    except BaseException:
        os.close(report_read)
        os.close(control_write)
        raise
    finally:
        os.close(report_write)
        os.close(control_read)
    try:
        report = _read_report(helper, report_read, _size_bytes(image), progress)
        return Parked(helper, report_read, control_write, report)
    except BaseException as error:
        # Both, so that a helper that is still writing its report ends, too.
        os.close(control_write)
        os.close(report_read)
        _await_end(helper, None)
        if isinstance(error, RecordError):
            raise LaunchError(f"{program.name}: {error}") from None
        raise


# What GDB ignores or handles. Not SIGHUP: a user who started GDB with nohup
# meant its programs, too.
_DEFAULT_SIGNALS = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGPIPE,
    signal.SIGCHLD,
    signal.SIGTERM,
    signal.SIGWINCH,
)


def _spawn(arguments: Sequence[str], kept: Sequence[int], terminal: Optional[str]) -> int:
    """Start the helper in a process group of its own with default signal actions; only 0, 1, 2 and
    `kept` stay open.

    posix_spawn and not fork: GDB has threads, and a forked copy of GDB may do hardly anything
    between fork and exec.
    """
    actions: List[Tuple[Any, ...]] = []
    if terminal:
        actions.append((os.POSIX_SPAWN_OPEN, 0, terminal, os.O_RDWR | os.O_NOCTTY, 0))
        actions += [(os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2)]
    # A duplicate onto itself takes the close-on-exec flag off (POSIX 2017, and glibc since 2.29).
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in kept]
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable() if fd > 2 and fd not in kept]
    try:
        return os.posix_spawn(
            arguments[0],
            list(arguments),
            os.environ,
            file_actions=actions,
            setpgroup=0,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
    except OSError as error:
        raise LaunchError(f"{arguments[0]} cannot be started: {error.strerror}") from None


def _inheritable() -> List[int]:
    """Our descriptors that a new program would get: GDB's own libraries do not all mark theirs
    close-on-exec.
    """
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:
            continue  # the descriptor of the listing itself
    return found


def _read_report(
    helper: int, fd: int, total_bytes: int, progress: Optional[ProgressCallback]
) -> Mapping[str, Any]:
    """The helper's report line.

    Raises LaunchError for an error report or an early end, KeyboardInterrupt for a cancelled wait.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    pending = b""
    while True:
        # A time-out, so that Ctrl-C is looked at: GDB's signal handler does not interrupt poll for
        # Python.
        ready = poll.poll(100)
        if progress is not None and not progress(_filled_bytes(helper), total_bytes):
            raise KeyboardInterrupt
        if not ready:
            continue
        chunk = os.read(fd, 1 << 16)
        if not chunk:
            raise LaunchError("the helper ended without a word: ckpt-restart died")
        pending += chunk
        if len(pending) > REPORT_LIMIT_BYTES:
            raise LaunchError("the helper's report has no end")
        if b"\n" in pending:
            report = _parse(pending.split(b"\n", 1)[0])
            if "error" in report:
                raise LaunchError(read(report, "error", str), read(report, "kind", str, "system"))
            return report


def _filled_bytes(helper: int) -> int:
    """How much of the image the new program has read: its memory is filled by its own reading."""
    done = 0
    try:
        for child in Path(f"/proc/{helper}/task/{helper}/children").read_text().split():
            counters = Path(f"/proc/{child}/io").read_text()
            done += int(counters.partition("rchar:")[2].split()[0])
    except (OSError, ValueError, IndexError):
        pass  # it has just ended, or this kernel does not count
    return done


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # the helper will say what is wrong with it


def _parse(line: bytes) -> Mapping[str, Any]:
    try:
        report = json.loads(line)
    except ValueError:
        report = None
    if not isinstance(report, dict):
        raise LaunchError(f"the helper's report is not understood: {line[:200]!r}")
    return report


def _await_end(helper: int, pid: Optional[int]) -> None:
    """Wait until the helper, told to end, is gone; after the grace period end it and the program
    `pid`.
    """
    try:
        fd = os.pidfd_open(helper)
    except ProcessLookupError:
        return  # gone, and collected by GDB
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(GRACE_S * 1000):
            for each in (pid, helper):
                if each is not None:
                    try:
                        os.kill(each, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            poll.poll(GRACE_S * 1000)
    finally:
        os.close(fd)
    reap(helper)


def reap(helper: int) -> bool:
    """Collect the helper's exit status if it has ended and GDB has not; True when there is nothing
    left to collect.
    """
    try:
        return os.waitpid(helper, os.WNOHANG)[0] == helper
    except ChildProcessError:
        return True
    except OSError:
        return False
