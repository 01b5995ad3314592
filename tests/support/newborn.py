"""A debugger that stops a program in clone, and saves it before it has heard of the new thread: as
GDB 15 and newer, which keep the event for later when they stop all threads because of another one.

usage: newborn.py NATIVE_MODULE PID IMAGE STORE

Prints ATTACHED when the program goes on, and SAVED with the ids of both threads when it lets go of
it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hand_over import (
    DEBUGGERS_OPTIONS,
    PTRACE_ATTACH,
    PTRACE_DETACH,
    PTRACE_SETOPTIONS,
    WALL,
    load,
    ptrace,
    registers,
)

PTRACE_CONT, PTRACE_EVENT_CLONE = 7, 3
FS_BASE = 21  # of user_regs_struct


def main() -> int:
    """See above."""
    module, number, image, store = sys.argv[1:]
    native, pid = load(module), int(number)
    ptrace(PTRACE_ATTACH, pid)
    assert os.waitpid(pid, WALL)[0] == pid
    ptrace(PTRACE_SETOPTIONS, pid, 0, DEBUGGERS_OPTIONS)
    ptrace(PTRACE_CONT, pid)
    print("ATTACHED", flush=True)
    _, status = os.waitpid(pid, WALL)
    assert status >> 8 == signal.SIGTRAP | PTRACE_EVENT_CLONE << 8, hex(status)
    (tid,) = {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()} - {pid}
    assert os.waitpid(tid, WALL)[0] == tid
    fs_base = int.from_bytes(bytes.fromhex(registers(pid))[FS_BASE * 8 :][:8], "little")
    known = {"tid": pid, "number": 1, "pthread": fs_base}
    request = {
        "pid": pid, "output": image, "store": store, "file_limit": 0, "strict": False,
        "attached": True, "threads": [known],
    }  # fmt: skip
    done = native.capture(request, None, None)
    for each in (pid, tid):
        ptrace(PTRACE_DETACH, each)
    assert done["threads"] == 2, done
    print("SAVED", pid, tid, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
