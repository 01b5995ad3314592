"""Telling GDB at which address a thread stopped.

GDB remembers where the thread of its last stop event stopped (its "stop_pc"), and `continue` steps
over a breakpoint only when the thread is still there. After an attach that is the place where the
program was parked, in its first thread: a program saved at a breakpoint would stop there once more,
without having moved. There is no command that sets the address, so GDB is shown a stop: the thread
stands at the address, has a SIGSTOP pending, and is let go. The kernel delivers a pending signal to
a traced thread before it runs any instruction, so nothing happens but the event.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import ExitStack, contextmanager
from typing import Iterator

import gdb

from .. import gdbtext
from ..errors import LaunchError
from . import debugger, settings

_SYS_TGKILL = 234


def show_stop(pid: int, tid: int, address: int) -> None:
    """Have GDB believe that thread `tid` of the parked process `pid` stopped at `address`.

    Registers are as before afterwards, but a system call it was in is not restarted. The thread
    stays selected. Hooks and handlers of stops and of `continue` must be silenced. Raises gdb.error
    and LaunchError.
    """
    if not debugger.select_thread(tid):
        raise LaunchError(f"GDB did not find thread {tid} of process {pid}")
    parked = int(gdb.parse_and_eval("(unsigned long) $pc"))
    # The restart of the call it is parked in would move the address back.
    settings.quietly("set var $orig_rax = -1")
    settings.quietly(f"set var $pc = {address:#x}")
    with ExitStack() as stack:
        stack.enter_context(settings.setting("scheduler-locking", "on"))
        stack.enter_context(_stop_signal_stops())
        _send(pid, tid, signal.SIGSTOP)
        settings.quietly("continue")
        # Not for the program: GDB would hand it over at the next `continue`.
        settings.quietly("queue-signal 0")
    settings.quietly(f"set var $pc = {parked:#x}")


@contextmanager
def _stop_signal_stops() -> Iterator[None]:
    """Have GDB stop at SIGSTOP, whatever the user wants, and say nothing."""
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


def _send(pid: int, tid: int, number: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_SYS_TGKILL, pid, tid, number) != 0:
        error = ctypes.get_errno()
        raise LaunchError(f"signal to thread {tid}: {os.strerror(error)}")
