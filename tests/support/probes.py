"""What this machine, its kernel and its processor can do, each found out by trying and only once. A
test that needs one of these asks here and, if it is not there, does without or skips itself with
the reason. Test programs that need something only they can try print SKIP and the reason
themselves.
"""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
import tempfile
import termios
from pathlib import Path

import pytest

from .processes import as_root

_WATCHED = "volatile long watched; int main(void) { watched = 1; watched = 2; return 0; }\n"


@functools.cache
def hardware_watchpoints() -> bool:
    """Whether a watchpoint that GDB gives to the processor stops the program. Under some
    hypervisors it never does.
    """
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "program")
        subprocess.run(
            ["cc", "-x", "c", "-g", "-O0", "-", "-o", program],
            input=_WATCHED,
            text=True,
            check=True,
        )
        commands = ["break main", "run", "watch watched", "continue"]
        words = [word for command in commands for word in ("-ex", command)]
        gdb: list[str | Path] = [
            "gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off", *words, program,
        ]  # fmt: skip
        printed = subprocess.run(
            gdb, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
        ).stdout
    return "Hardware watchpoint 2" in printed and "New value = 1" in printed


# `nop; mov $1, %eax; xor %ebx, %ebx; int $0x80`
_EXIT_32 = ".globl _start\n_start: nop\nmov $1, %eax\nxor %ebx, %ebx\nint $0x80\n"


@functools.cache
def programs_of_32_bits() -> bool:
    """Whether the kernel runs them: an option, and a parameter of its start."""
    with tempfile.TemporaryDirectory() as directory:
        obj, program = Path(directory, "program.o"), Path(directory, "program")
        subprocess.run(["as", "--32", "-o", obj, "-"], input=_EXIT_32, text=True, check=True)
        subprocess.run(["ld", "-m", "elf_i386", "-o", program, obj], check=True)
        try:
            return subprocess.run([program]).returncode == 0
        except OSError:
            return False


def need_programs_of_32_bits() -> None:
    """Skip the test where the kernel runs none."""
    if not programs_of_32_bits():
        pytest.skip("the kernel runs no 32-bit programs")


@functools.cache
def namespaces(*kinds: str) -> bool:
    """Whether this user may make namespaces of these kinds ("--time",
    say: options of unshare(1)).
    """
    command = ["unshare", *([] if as_root() else ["--user"]), *kinds, "true"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@functools.cache
def may_type() -> bool:
    """Whether the kernel lets processes of this user type on their own terminals
    (dev.tty.legacy_tiocsti).
    """
    master, terminal = os.openpty()
    try:
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
                fcntl.ioctl(terminal, termios.TIOCSTI, b"x")
                os._exit(0)
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        os.close(master)
        os.close(terminal)


# In the temporary directory, as is the tests' own.
_OVERLAY = """
set -e
mount -t tmpfs tmpfs "$1/memory"
mkdir "$1/memory/upper" "$1/memory/work"
mount -t overlay overlay -o "lowerdir=$1/lower,upperdir=$1/memory/upper,\
workdir=$1/memory/work$2" "$1/lower"
rm "$1/lower/directory/file"
rmdir "$1/lower/directory"
mkdir "$1/lower/directory"
"""


@functools.cache
def overlays() -> bool:
    """Whether this user can have a mount namespace with an overlay over a
    directory of the tests: a sandbox.
    """
    namespaces_too = [] if as_root() else ["-U", "-r"]
    option = "" if as_root() else ",userxattr"
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "memory").mkdir()
        Path(directory, "lower", "directory").mkdir(parents=True)
        Path(directory, "lower", "directory", "file").write_text("")
        command = [
            "unshare", *namespaces_too, "-m", "--propagation", "slave", "sh", "-c", _OVERLAY, "sh",
            directory, option,
        ]  # fmt: skip
        return (
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
        )


def need_overlays() -> None:
    """Skip the test where there are none."""
    if not overlays():
        pytest.skip(
            "this user cannot have a mount namespace with an overlay (overlayfs, user namespaces)"
        )
