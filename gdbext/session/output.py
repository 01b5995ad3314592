"""What GDB writes to its standard output and error, held back for a while: sent nowhere, or sifted
when a front end reads it (GDB/MI; see `mi`).

By the descriptors, since much of it goes past any capturing of a command's output: what GDB says of
a stop, and every record of GDB/MI. A program that is started meanwhile would inherit them, so none
may be.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import Callable, Iterator, List, Optional, Sequence

import gdb

from ..debugger import gdbtext, mi

_interpreter: Optional[str] = None


def interpreter() -> str:
    """The version of GDB/MI that is read from GDB's standard output ("mi3"), or "" for none."""
    global _interpreter
    if _interpreter is None:
        with open("/proc/self/cmdline", "rb") as file:
            words = os.fsdecode(file.read()).split("\0")
        _interpreter = gdbtext.machine_interface(words)
    return _interpreter


def write(lines: Sequence[bytes]) -> None:
    """Write records as they are."""
    _flush()
    rest = b"".join(lines)
    while rest:
        rest = rest[os.write(1, rest) :]


@contextmanager
def held() -> Iterator[List[bytes]]:
    """Hold back what GDB writes to its standard output; the lines are in the list afterwards."""
    lines: List[bytes] = []
    with open(os.memfd_create("ckpt-output"), "rb") as file:
        try:
            with _redirected(1, file.fileno()):
                yield lines
        finally:
            file.seek(0)
            lines += file.read().splitlines(keepends=True)


@contextmanager
def _sifted(sift: Callable[[List[bytes]], Sequence[bytes]]) -> Iterator[None]:
    """Hold back what a front end would read, and write what `sift` leaves of it in the end."""
    if not interpreter():
        yield
        return
    lines: List[bytes] = []
    try:
        with held() as lines:
            yield
    finally:
        write(sift(lines))


@contextmanager
def unnoticed() -> Iterator[None]:
    """Change settings and breakpoints for a while, or for a purpose of our own, without a front end
    being told.
    """
    with _sifted(lambda lines: [line for line in lines if not mi.is_notice_of_change(line)]):
        yield


@contextmanager
def unseen() -> Iterator[None]:
    """Run silently: what GDB writes to its standard output is dropped."""
    if not interpreter():
        yield
        return
    with _sifted(lambda lines: ()):
        yield


@contextmanager
def output_hidden() -> Iterator[None]:
    """Hide what GDB writes to its standard output; errors are still shown. A front end hears of
    what outlasts it.
    """
    if not interpreter():
        with _to_nowhere(1):
            yield
        return
    with _sifted(lambda lines: [line for line in lines if mi.outlasts_restore(line)]):
        try:
            yield
        finally:
            _command_goes_on()


@contextmanager
def aside() -> Iterator[None]:
    """Work in inferiors of our own: a front end hears of those that are there in the end."""
    with _sifted(mi.aside):
        yield


@contextmanager
def warnings_hidden() -> Iterator[int]:
    """Send what GDB writes to its standard error nowhere, and give a descriptor of where it went.

    GDB 13 warns of the size of the registers in any core file from a new processor, for each thread
    that is looked at, and past the capturing of output when it is Python that looks.
    """
    with _to_nowhere(2) as kept:
        yield kept


def answer_of(command: str) -> str:
    """What a command of GDB/MI answers, as GDB writes it. There must be an `interpreter()`."""
    # The very one that is read: GDB 13 would set another one up with the output of this moment.
    with held() as lines:
        gdb.execute(f'interpreter-exec {interpreter()} "{command}"', to_string=True)
    return b"".join(lines).decode("utf-8", "surrogateescape")


def _command_goes_on() -> None:
    """Make GDB forget that the program ran during the command that is being done. It has written
    `^running`, and would write no `^done` in the end, nor a prompt.

    A command of GDB/MI begins with nothing written, and one that fails asks for a prompt. This one
    fails for want of an argument.
    """
    answer_of("-thread-select")


@contextmanager
def _to_nowhere(number: int) -> Iterator[int]:
    nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        with _redirected(number, nowhere) as kept:
            yield kept
    finally:
        os.close(nowhere)


@contextmanager
def _redirected(number: int, to: int) -> Iterator[int]:
    """Let the descriptor `number` lead to where `to` does. Gives one to where it led before."""
    _flush()
    kept = os.dup(number)
    try:
        os.dup2(to, number)
        yield kept
    finally:
        _flush()
        os.dup2(kept, number)
        os.close(kept)


def _flush() -> None:
    gdb.flush()
    if interpreter():
        import ctypes  # slow to import

        # GDB leaves records in the C library's buffer when no text for the console is waiting.
        ctypes.CDLL(None).fflush(None)
