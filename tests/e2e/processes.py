"""What the tests know of processes: which ones a test started, what they are doing, and when they
are gone.

Every process of a test carries the test's own tag in its environment. The environment is part of a
program's memory, so a restored program carries the tag of the program that was saved, and nothing a
test starts can hide from its teardown.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
from collections.abc import Callable, Set
from pathlib import Path
from time import monotonic

from support.measured import is_measured
from support.processes import DEADLINE_S, everybody

TAG_VARIABLE = "CKPT_E2E_TAG"


def read_text(path: str) -> str:
    """The content of a file of /proc, or "" when the process is gone or may not be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def state_of(pid: int) -> str:
    """The one-letter state of `pid` ("R", "S", "t", "Z"...),
    or "" when there is no such process.
    """
    stat = read_text(f"/proc/{pid}/stat")
    return stat.rpartition(")")[2].split()[0] if stat else ""


def parent_of(pid: int) -> int:
    """The parent's pid, or 0 when there is no such process."""
    stat = read_text(f"/proc/{pid}/stat")
    return int(stat.rpartition(")")[2].split()[1]) if stat else 0


def tagged(tag: str, before: Set[int] = frozenset()) -> list[int]:
    """The live processes whose environment holds `tag`, those of `before` left out:
    reading them all is slow.
    """
    wanted = f"{TAG_VARIABLE}={tag}\0".encode()
    found = []
    for pid in everybody() - before:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if wanted in environment + b"\0" and state_of(pid) not in ("Z", "X", ""):
            found.append(pid)
    return sorted(found)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> None:
    """Return as soon as `condition` holds, for conditions without an event.
    AssertionError after `timeout_s`.
    """
    deadline = monotonic() + timeout_s
    while not condition():
        if monotonic() > deadline:
            raise AssertionError(f"after {timeout_s} s still not: {what}")
        os.sched_yield()


def wait_gone(pid: int, timeout_s: float = DEADLINE_S) -> None:
    """Return when process `pid` has ended, which need not be our child.
    AssertionError after `timeout_s`.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        if not poller.poll(timeout_s * 1000):
            raise AssertionError(
                f"process {pid} is still there after {timeout_s} s:\n{describe(pid)}"
            )
    finally:
        os.close(pidfd)


def kill_now(pid: int) -> None:
    """SIGKILL to `pid`, which may be gone already."""
    # 0 and -1 would be whole groups of processes, the tests' own among them.
    assert pid > 1, pid
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def end_gdb(pid: int) -> None:
    """End a GDB at once. One that is measured is first asked to end by itself,
    since it writes its counters then.
    """
    if is_measured():
        try:
            os.kill(pid, signal.SIGTERM)
            wait_gone(pid, 5)
        except (ProcessLookupError, AssertionError):
            pass
    kill_now(pid)


def wait_in_syscall(pid: int, *numbers: int, timeout_s: float = DEADLINE_S) -> None:
    """Return when the main thread of `pid` sleeps inside one of the x86-64 system calls `numbers`.

    One that a debugger has stopped does not sleep, whatever the system call.
    """

    def inside() -> bool:
        if state_of(pid) not in ("S", "D"):
            return False
        words = read_text(f"/proc/{pid}/syscall").split()
        return bool(words) and words[0] in {str(number) for number in numbers}

    wait_until(inside, f"process {pid} is in one of the system calls {numbers}", timeout_s)


def describe(pid: int) -> str:
    """A few lines on what every thread of `pid` is doing,
    for the report of a test that timed out.
    """
    command = read_text(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    lines = [f"process {pid}: {command}"]
    try:
        tids = sorted(int(tid) for tid in os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return lines[0] + ": gone"
    for tid in tids:
        base = f"/proc/{pid}/task/{tid}"
        wanted = ("State:", "TracerPid:", "SigPnd:", "ShdPnd:", "SigBlk:")
        status = read_text(f"{base}/status").splitlines()
        status = [" ".join(line.split()) for line in status if line.startswith(wanted)]
        lines.append(
            f"  thread {tid}: {', '.join(status)}; syscall {read_text(f'{base}/syscall').strip()}"
        )
        lines += [f"    {line}" for line in read_text(f"{base}/stack").splitlines()[:4]]
    return "\n".join(lines)


_SYS_CLONE3 = 435
_SYS_GETTID = 186


class Decoy:
    """A process that holds the id `pid`, so that a restore cannot have it. Needs root, and `pid`
    must be free.

    It comes from clone3 with set_tid and does nothing but wait for `close()`, or the end of a
    `with`.
    """

    def __init__(self, pid: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        wanted = (ctypes.c_int * 1)(pid)
        # struct clone_args (clone(2)): flags, pidfd, child_tid, parent_tid, exit_signal, stack,
        # stack_size, tls, set_tid, set_tid_size, cgroup. exit_signal makes it a child that
        # waitpid() sees.
        arguments = struct.pack(
            "=11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0
        )
        buffer = ctypes.create_string_buffer(arguments, len(arguments))
        child = libc.syscall(_SYS_CLONE3, buffer, ctypes.c_size_t(len(arguments)))
        if child < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"clone3 with set_tid {pid}: {os.strerror(number)}")
        if child == 0:
            try:
                while True:
                    signal.pause()
            finally:
                os._exit(1)
        self.pid = child

    def close(self) -> None:
        """End the decoy and reap it; twice is harmless."""
        if self.pid:
            kill_now(self.pid)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def __enter__(self) -> Decoy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
