"""Progress of long work on a terminal: bytes and rate, in place, wiped when done; and Ctrl-C."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Callable, Optional, Type

from .report import size

# What is over at once needs no progress line.
QUIET_S = 0.5
INTERVAL_S = 0.1


class Progress:
    """A progress line on the terminal `fd`; called with (bytes done, bytes in all) by the code that
    works.

    Nothing is written when `fd` is no terminal, nor in the first half second. A call returns False
    once the user has pressed Ctrl-C, or `cancelled` says so. Use it as a context manager: leaving
    wipes the line.
    """

    def __init__(
        self,
        label: str,
        fd: int = 2,
        clock: Callable[[], float] = time.monotonic,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._label = label
        self._fd = fd
        self._clock = clock
        self._cancelled = cancelled
        self._started_s = clock()
        self._shown_s = 0.0
        self._visible = False
        self.interrupted = False
        try:
            self._terminal = os.isatty(fd)
        except OSError:
            self._terminal = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.clear()

    def __call__(self, done_bytes: int, total_bytes: int) -> bool:
        """Note the progress. Returns False when the work should stop: Ctrl-C reaches Python code as
        an exception.
        """
        if self.interrupted:
            return False
        try:
            self._show(done_bytes, total_bytes)
            self.interrupted = self._cancelled()
        except KeyboardInterrupt:
            self.interrupted = True
        return not self.interrupted

    def _show(self, done_bytes: int, total_bytes: int) -> None:
        if not self._terminal:
            return
        now_s = self._clock()
        elapsed_s = now_s - self._started_s
        if elapsed_s < QUIET_S or now_s - self._shown_s < INTERVAL_S:
            return
        self._shown_s = now_s
        rate = f"{size(done_bytes / elapsed_s)}/s"
        if total_bytes > 0:
            share = f"{100 * done_bytes // total_bytes}%"
            text = f"{self._label}: {size(done_bytes)} of {size(total_bytes)} ({share}), {rate}"
        else:
            text = f"{self._label}: {size(done_bytes)}, {rate}"
        self._write(f"\r{text}\x1b[K")
        self._visible = True

    def clear(self) -> None:
        """Wipe the line if it is there."""
        if self._visible:
            self._visible = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        try:
            # Past GDB's own output on purpose: this must not end up in its log file or in a
            # captured string.
            os.write(self._fd, text.encode(errors="backslashreplace"))
        except OSError:
            self._terminal = False
