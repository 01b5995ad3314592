"""What only a stop event can teach GDB about a program it has just attached to.

Where it stopped. GDB remembers where the thread of its last stop event stopped (its "stop_pc"), and
`continue` steps over a breakpoint only when the thread is still there. After an attach that is the
place where the program was parked, in its first thread: a program saved at a breakpoint would stop
there once more, without having moved.

Its terminal modes. GDB takes the terminal's modes for the program's when the program stops, and
gives them back when it goes on. After an attach it gives the modes the terminal had when GDB
started, and there is no event between that and the program's first instruction.

No command sets either, so GDB is shown stops, by a SIGSTOP, while the program is still parked. A
signal that is pending already is delivered to a traced thread before it runs any instruction, so
nothing happens but the event.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

import gdb

from .. import native
from ..debugger import gdbtext
from ..errors import LaunchError
from . import inferior, output, settings

_SYS_TGKILL = 234
# How long GDB may take to hand the terminal over; it is a matter of a few system calls.
_HAND_OVER_S = 2.0


def show_stop(pid: int, tid: int, address: int, terminal: Optional[Dict[str, Any]]) -> None:
    """Have GDB believe that thread `tid` of the parked process `pid` stopped at `address`, and that
    its terminal modes are `terminal` (None: unknown).

    Registers are as before afterwards, but a system call it was in is not restarted. The thread
    stays selected. Hooks and handlers of stops and of `continue` must be silenced, and output be
    hidden, and the language be C. Raises gdb.error and LaunchError.
    """
    if not inferior.select_thread(tid):
        raise LaunchError(f"GDB did not find thread {tid} of process {pid}")
    with ExitStack() as stack:
        stack.enter_context(settings.setting("scheduler-locking", "on"))
        stack.enter_context(_stop_signal_stops())
        stack.enter_context(_nothing_to_catch())
        if terminal is not None and shares_terminal(pid):
            _teach_modes(pid, tid, terminal)
        if address:
            _teach_address(pid, tid, address)


def _teach_address(pid: int, tid: int, address: int) -> None:
    parked = int(gdb.newest_frame().pc())
    # The restart of the call it is parked in would move the address back.
    settings.quietly("set var $orig_rax = -1")
    settings.quietly(f"set var $pc = {address:#x}")
    _send_stop(pid, tid)
    _go_on()
    settings.quietly(f"set var $pc = {parked:#x}")


def _teach_modes(pid: int, tid: int, terminal: Dict[str, Any]) -> None:
    """Let the parked thread sleep on in its call until GDB has given it the terminal, set the modes
    and stop it: GDB then takes them for the program's own.
    """
    group = os.getpgid(pid)

    def hand_over() -> None:
        deadline = time.monotonic() + _HAND_OVER_S
        try:
            while os.tcgetpgrp(0) != group and time.monotonic() < deadline:
                time.sleep(0.0002)
            native.core.write_terminal(0, terminal)
        except (OSError, native.core.NativeError):
            pass  # a terminal that went away is no reason to fail
        finally:
            _send_stop(pid, tid)

    with _beside(hand_over):
        _go_on()


@contextmanager
def _beside(work: Callable[[], None]) -> Iterator[None]:
    """Do `work` in a thread meanwhile. GDB's signal handlers must run on its main thread, so the
    other one blocks all signals: it inherits the mask.
    """
    thread = threading.Thread(target=work, daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield
    finally:
        thread.join()


def _go_on() -> None:
    settings.quietly("continue")
    # Not for the program: GDB would hand it over at the next `continue`.
    settings.quietly("queue-signal 0")


def shares_terminal(pid: int) -> bool:
    """Whether GDB will give the program its terminal: by the rule GDB has for attached programs."""
    try:
        return os.isatty(0) and os.readlink(f"/proc/{pid}/fd/0") == os.readlink("/proc/self/fd/0")
    except OSError:
        return False


@contextmanager
def _nothing_to_catch() -> Iterator[None]:
    """Disable what the shown stop would hit, and GDB would run the commands of: catchpoints of
    signals, and software watchpoints, whose value GDB looks at whenever something stops.
    """
    kinds = {
        getattr(gdb, name) for name in ("BP_CATCHPOINT", "BP_WATCHPOINT") if hasattr(gdb, name)
    }
    disabled = [point for point in gdb.breakpoints() if point.type in kinds and point.enabled]
    _enable(disabled, False)
    try:
        yield
    finally:
        _enable(disabled, True)


def _enable(points: List[Any], enabled: bool) -> None:
    with output.unnoticed():
        for point in points:
            if point.is_valid():
                point.enabled = enabled


@contextmanager
def _stop_signal_stops() -> Iterator[None]:
    """Have GDB stop at SIGSTOP, whatever the user wants."""
    row = gdbtext.signals(settings.quietly("info signals SIGSTOP"))["SIGSTOP"]
    settings.quietly("handle SIGSTOP stop print nopass")
    try:
        yield
    finally:
        words = [
            word if wanted else f"no{word}"
            for word, wanted in (("print", row.print), ("stop", row.stop), ("pass", row.passed))
        ]
        settings.quietly(f"handle SIGSTOP {' '.join(words)}")


def _send_stop(pid: int, tid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_SYS_TGKILL, pid, tid, int(signal.SIGSTOP)) != 0:
        error = ctypes.get_errno()
        raise LaunchError(f"signal to thread {tid}: {os.strerror(error)}")
