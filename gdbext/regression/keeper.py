"""The process between a replay and its GDB, which lets nothing of it stay behind.

    python -I -S keeper.py CONTROL CHANNEL SCRATCH STDIN COMMAND...

It starts COMMAND (a GDB) with STDIN as standard input, SCRATCH/gdb as output, and the socket
CHANNEL open; reads what the replayed program writes; and ends, with all that came of COMMAND, when
CONTROL is closed: that is what a killed pytest does. In detail:

    - It is a session of its own: Ctrl-C at the terminal is not for it.
    - It is a subreaper: whatever any process below it leaves behind becomes its child, to be killed
      and collected. It ends when there are no more.
    - GDB gets SIGKILL when the keeper dies (PR_SET_PDEATHSIG), and with GDB the program that it
      traces (PTRACE_O_EXITKILL).
    - SCRATCH is removed at the end.

The program's output goes through a pseudoterminal if it was a terminal when the snapshot was made,
else through a FIFO, since the C library buffers by this. Both for standard output and error each:

    SCRATCH/tty.1  SCRATCH/pipe.1  ->  SCRATCH/output.1         (links to the terminals)
    SCRATCH/tty.2  SCRATCH/pipe.2  ->  SCRATCH/output.2

On CONTROL it takes the bytes d (write all that has arrived; answers "d"), i (SIGINT for GDB) and q
(end), and says E when GDB has ended.

A program by itself, with the standard library only: it is started once for each replay.
"""

import ctypes
import fcntl
import os
import select
import shutil
import signal
import struct
import sys
import termios
import tty
from typing import Dict, List, NoReturn, Set

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# A program gone wild must not fill the disk.
OUTPUT_LIMIT_BYTES = 64 << 20


class Outputs:
    """The ends of the program's output that are ours, and the files it goes to."""

    def __init__(self, scratch: str) -> None:
        self._poll = select.poll()
        self._files: Dict[int, int] = {}
        self._left: Dict[int, int] = {}
        self._held: List[int] = []
        for stream in (1, 2):
            out = os.open(
                f"{scratch}/output.{stream}", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            )
            master, slave = os.openpty()
            # Bytes come as they were written, and nothing is echoed.
            tty.setraw(slave)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.symlink(os.ttyname(slave), f"{scratch}/tty.{stream}")
            fifo = f"{scratch}/pipe.{stream}"
            os.mkfifo(fifo, 0o600)
            # For reading and writing, so that the other end is always open.
            for fd in (master, os.open(fifo, os.O_RDWR | os.O_CLOEXEC)):
                os.set_blocking(fd, False)
                self._files[fd] = out
                self._left[out] = OUTPUT_LIMIT_BYTES
                self._poll.register(fd, select.POLLIN)
            self._held.append(slave)

    def add_to(self, poll: "select.poll") -> None:
        """Have `poll` look at them, too."""
        for fd in self._files:
            poll.register(fd, select.POLLIN)

    def read(self, fd: int) -> bool:
        """Take what there is at `fd`; False when there is nothing."""
        try:
            data = os.read(fd, 1 << 16)
        except OSError:
            return False
        out = self._files[fd]
        taken = data[: self._left[out]]
        self._left[out] -= len(taken)
        while taken:
            taken = taken[os.write(out, taken) :]
        return bool(data)

    def drain(self) -> None:
        """Take all that has been written. (Looking at a pseudoterminal has the kernel deliver what
        is on its way.)
        """
        while any([self.read(fd) for fd, _ in self._poll.poll(0)]):
            pass


def start(command: List[str], channel: int, scratch: str, stdin: str) -> int:
    """Start GDB; its process id."""
    keeper = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(127)  # it died before we asked
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        transcript = os.open(f"{scratch}/gdb", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(transcript, 1)
        os.dup2(transcript, 2)
        os.closerange(3, channel)
        os.closerange(channel + 1, 256)
        os.set_inheritable(channel, True)
        # Python ignores them, and a program would inherit that.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def children() -> Set[int]:
    """Our children. Read from /proc/PID/stat, since not every kernel lists them."""
    found = set()
    me = os.getpid()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    if int(stat.read().rpartition(")")[2].split()[1]) == me:
                        found.add(int(entry))
            except OSError:
                continue  # gone
    return found


def end_all() -> None:
    """Kill and collect all that there is below us: who loses its parent becomes our child."""
    while True:
        for pid in children():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue  # a program with another user's rights
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def attend(control: int, gdb: int, outputs: Outputs) -> None:
    """Do what is asked for on `control`, until it is closed."""
    ended = os.pidfd_open(gdb)
    poll = select.poll()
    outputs.add_to(poll)
    poll.register(control, select.POLLIN)
    poll.register(ended, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == ended:
                poll.unregister(ended)
                os.write(control, b"E")
            elif fd != control:
                outputs.read(fd)
            else:
                try:
                    asked = os.read(control, 1)
                except OSError:
                    return
                if asked in (b"", b"q"):
                    return
                if asked == b"d":
                    outputs.drain()
                    os.write(control, b"d")
                elif asked == b"i":
                    signal.pidfd_send_signal(ended, signal.SIGINT)


def main(arguments: List[str]) -> NoReturn:
    control, channel, scratch, stdin, command = (
        int(arguments[0]), int(arguments[1]), arguments[2], arguments[3], arguments[4:]
    )  # fmt: skip
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        outputs = Outputs(scratch)
        gdb = start(command, channel, scratch, stdin)
        os.close(channel)
        os.set_inheritable(control, False)
        attend(control, gdb, outputs)
    except OSError:
        pass  # the client is gone
    finally:
        end_all()
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
