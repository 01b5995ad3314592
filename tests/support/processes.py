"""Processes of the tests: started, spoken to, waited for and ended by pid, without ever sleeping.

Waiting is for events: a line, an end of file, a pidfd. Where the kernel sends no event (a thread
reaches a system call) `wait_until` asks again, yielding the processor in between.
"""

from __future__ import annotations

import dataclasses
import os
import re
import select
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import IO

# For what hangs. What a test waits for is there within a second or two on an idle machine; on one
# with ten times as much to do as it has processors for it comes late, and must not fail.
DEADLINE_S = 90.0


def read_text(path: str | Path) -> str:
    """The content of a file of /proc, or "" when the process is gone."""
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return ""


def wait_until(
    condition: Callable[[], bool], what: Callable[[], str] | str, timeout_s: float = DEADLINE_S
) -> None:
    """Return as soon as `condition` holds; AssertionError saying `what` did not come true
    after `timeout_s` seconds.
    """
    deadline = monotonic() + timeout_s
    while not condition():
        if monotonic() > deadline:
            raise AssertionError(
                f"after {timeout_s:g} s still not: {what if isinstance(what, str) else what()}"
            )
        os.sched_yield()


def threads_of(pid: int) -> list[int]:
    """The thread ids of `pid` in the order in which the threads were made; empty when it is gone.
    Without those that the kernel has made itself, for an io_uring.
    """
    try:
        # Not by number: ids begin again at the low ones now and then.
        tids = [int(tid) for tid in os.listdir(f"/proc/{pid}/task")]
        return [
            tid for tid in tids if not read_text(f"/proc/{pid}/task/{tid}/comm").startswith("iou-")
        ]
    except OSError:
        return []


def state_of(pid: int, tid: int | None = None) -> str:
    """The state letter of a thread (the leader without `tid`), or "" when it is gone."""
    stat = read_text(f"/proc/{pid}/task/{tid or pid}/stat")
    return stat.rpartition(")")[2].split()[0] if stat else ""


def exists(pid: int) -> bool:
    """Whether `pid` lives: a zombie does not."""
    return state_of(pid) not in ("", "Z", "X")


def everybody() -> set[int]:
    """The processes there are now, whoever's they are."""
    return {int(entry) for entry in os.listdir("/proc") if entry.isdigit()}


def children_of(pid: int) -> list[int]:
    """The living children of `pid`, zombies left out."""
    found = []
    for other in everybody():
        words = read_text(f"/proc/{other}/stat").rpartition(")")[2].split()
        if len(words) > 1 and int(words[1]) == pid and words[0] not in "ZX":
            found.append(other)
    return sorted(found)


def wait_gone(pid: int, timeout_s: float = DEADLINE_S) -> None:
    """Return when `pid` has ended, be it our child or not."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        assert poller.poll(
            timeout_s * 1000
        ), f"process {pid} is still there after {timeout_s:g} s\n{describe(pid)}"
    finally:
        os.close(pidfd)


def kill_now(pid: int) -> None:
    """SIGKILL, to a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def stopped_or_traced(pid: int) -> list[str]:
    """Threads that do not run, with what the kernel says of them."""
    found = []
    for tid in threads_of(pid):
        status = read_text(f"/proc/{pid}/task/{tid}/status")
        if re.search(r"^State:\s+[tT]|^TracerPid:\s+[1-9]", status, re.MULTILINE):
            found.append(f"{tid}: {status}")
    return found


def let_go(pid: int) -> None:
    """Wait until the kernel has let go of it; AssertionError if a thread stays stopped."""
    wait_until(
        lambda: not stopped_or_traced(pid),
        lambda: f"no thread is stopped or traced\n{describe(pid)}",
    )


def system_call_of(pid: int, tid: int) -> tuple[int, list[int]] | None:
    """Number and [arguments..., sp, pc] of the call a thread sleeps in;
    number -1 outside a call; None while it runs.
    """
    words = read_text(f"/proc/{pid}/task/{tid}/syscall").split()
    if not words or words[0] == "running":
        return None
    return int(words[0]), [int(word, 16) for word in words[1:]]


def describe(pid: int) -> str:
    """What every thread of `pid` is doing, for the report of a failed test."""
    lines = [f"process {pid}: {read_text(f'/proc/{pid}/cmdline').replace(chr(0), ' ').strip()}"]
    for tid in threads_of(pid):
        base = f"/proc/{pid}/task/{tid}"
        status = [" ".join(line.split()) for line in read_text(f"{base}/status").splitlines()]
        wanted = ("State:", "TracerPid:", "SigPnd:", "ShdPnd:", "SigBlk:")
        kept = ", ".join(line for line in status if line.startswith(wanted))
        lines.append(f"  thread {tid}: {kept}; syscall {read_text(f'{base}/syscall').strip()}")
    return "\n".join(lines) if len(lines) > 1 else lines[0] + ": gone"


@dataclasses.dataclass(frozen=True)
class Result:
    """How a process ended: exit status (negative:
    killed by that signal) and what it had written.
    """

    status: int
    output: str
    errors: str

    def __str__(self) -> str:
        return f"status {self.status}\nstdout: {self.output}\nstderr: {self.errors}"


class Running:
    """A process with pipes for stdin, stdout and stderr (or whatever the caller gives instead)."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        randomised: bool = True,
        stdin: int | IO[bytes] | None = subprocess.PIPE,
        stdout: int | IO[bytes] | None = subprocess.PIPE,
        stderr: int | IO[bytes] | None = subprocess.PIPE,
        before_exec: Callable[[], None] | None = None,
        pass_fds: Sequence[int] = (),
        user: int | None = None,
    ) -> None:
        # setarch execs, so the pid stays. Without randomisation is how GDB's `run` starts programs.
        prefix = [] if randomised else ["setarch", "-R"]
        self.arguments = [str(a) for a in arguments]
        self._process = subprocess.Popen(
            [*prefix, *self.arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **(environment or {})},
            cwd=directory,
            preexec_fn=before_exec,
            pass_fds=pass_fds,
            user=user,
            group=user,
            extra_groups=[] if user is not None else None,
        )
        self.pid = self._process.pid
        self.nonce = ""
        self._text = {"out": b"", "err": b""}
        self._open = {"out": self._process.stdout, "err": self._process.stderr}
        self._taken = 0

    # --- talking

    def _pump(self, deadline: float, what: str) -> None:
        """Take in whatever stdout and stderr have, waiting for something;
        AssertionError at the deadline.
        """
        files = {f.fileno(): name for name, f in self._open.items() if f}
        poller = select.poll()
        for fd in files:
            poller.register(fd, select.POLLIN)
        ready = poller.poll(max(0.0, deadline - monotonic()) * 1000)
        if not ready:
            raise AssertionError(
                f"{self}: no {what} in time\n{self.transcript()}\n{describe_family(self.pid)}"
            )
        for fd, _events in ready:
            data = os.read(fd, 65536)
            name = files[fd]
            if data:
                self._text[name] += data
            else:
                file = self._open[name]
                assert file
                file.close()
                self._open[name] = None

    def expect(self, prefix: str, timeout_s: float = DEADLINE_S) -> str:
        """The rest of the next line of stdout, which must begin with `prefix`."""
        deadline = monotonic() + timeout_s
        while b"\n" not in self._text["out"][self._taken :]:
            assert self._open[
                "out"
            ], f"{self}: ended instead of printing {prefix}\n{self.transcript()}"
            self._pump(deadline, prefix)
        line, _, _ = self._text["out"][self._taken :].partition(b"\n")
        self._taken += len(line) + 1
        text = line.decode(errors="surrogateescape")
        assert text.startswith(
            prefix
        ), f"{self}: expected {prefix}, got {text}\n{self.transcript()}"
        return text[len(prefix) :].strip()

    def has_printed(self, line: str, wait_s: float = 1.0) -> bool:
        """Whether that line is on stdout by now, with what comes within a while; AssertionError
        when it has ended without.
        """
        if line not in self._text["out"].decode(errors="replace").splitlines():
            assert self._open[
                "out"
            ], f"{self}: ended instead of printing {line}\n{self.transcript()}"
            try:
                self._pump(monotonic() + wait_s, line)
            except AssertionError:
                return False
        return line in self._text["out"].decode(errors="replace").splitlines()

    def first_error_line(self, timeout_s: float = DEADLINE_S) -> str:
        """The first line of stderr, waited for."""
        deadline = monotonic() + timeout_s
        while b"\n" not in self._text["err"]:
            assert self._open["err"], f"{self}: ended without a line on stderr\n{self.transcript()}"
            self._pump(deadline, "line on stderr")
        return self._text["err"].partition(b"\n")[0].decode(errors="replace")

    def ready(self) -> str:
        """Wait for `READY <nonce>`; the nonce."""
        self.nonce = self.expect("READY ").split()[0]
        return self.nonce

    def send(self, line: str = "go", *, may_have_ended: bool = False) -> None:
        """Write one line to stdin."""
        assert self._process.stdin
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            if not may_have_ended:
                raise

    def end_of_input(self) -> None:
        """Close stdin."""
        assert self._process.stdin
        self._process.stdin.close()

    def transcript(self) -> str:
        """All it has written so far."""
        return "\n".join(
            f"std{name}: {text.decode(errors='replace')}" for name, text in self._text.items()
        )

    def errors(self) -> str:
        """What stderr has brought so far."""
        return self._text["err"].decode(errors="replace")

    # --- ending

    def finish(self, timeout_s: float = DEADLINE_S) -> Result:
        """Wait for its end and take in all output; AssertionError,
        and a look at it, when it does not end.
        """
        deadline = monotonic() + timeout_s
        while any(self._open.values()):
            self._pump(deadline, "end")
        try:
            self._process.wait(max(0.1, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self}: does not end\n{self.transcript()}\n{describe_family(self.pid)}"
            ) from None
        return Result(
            self._process.returncode,
            self._text["out"].decode(errors="replace"),
            self._text["err"].decode(errors="replace"),
        )

    def poll(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """End it now, and close our ends of its pipes."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._process.stderr):
            if file and not file.closed:
                try:
                    file.close()
                except BrokenPipeError:
                    pass
        self._open = {"out": None, "err": None}

    def __str__(self) -> str:
        return f"{' '.join(self.arguments)} (pid {self.pid})"


def describe_family(pid: int) -> str:
    """`describe` of a process and of its children."""
    return "\n".join([describe(pid), *(describe(child) for child in children_of(pid))])


def as_root() -> bool:
    """Whether the tests run privileged."""
    return os.geteuid() == 0
