"""A debugger reduced to what a restore needs of one: starts a parked restart, attaches, finishes,
lets go.

usage: hand_over.py NATIVE_MODULE CKPT_RESTART HOW IMAGE [OPTION...]

HOW: `go` hands over and detaches; `look` hands over and prints the registers of all threads first,
one line each as register_dump does; `leave` goes away without a word instead of handing over; `die`
finishes the program and ends without detaching: what is traced with PTRACE_O_EXITKILL ends too. The
first line on stderr is the report of the parked restart, as it came.

ptrace needs one thread that does it all, and a process of its own for `die`: hence a program, not a
module.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import struct
import subprocess
import sys
import types

PTRACE_ATTACH, PTRACE_DETACH, PTRACE_SETOPTIONS, PTRACE_GETREGSET = 16, 17, 0x4200, 0x4204
# What GDB sets on Linux: sysgood, fork, vfork, clone, exec, vfork done.
DEBUGGERS_OPTIONS = 0x01 | 0x02 | 0x04 | 0x08 | 0x10 | 0x20
WALL = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


class _Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def ptrace(request: int, tid: int, address: int = 0, data: int = 0) -> None:
    if _libc.ptrace(request, tid, address, data) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace({request:#x}, {tid}): {os.strerror(number)}")


def registers(tid: int) -> str:
    buffer = ctypes.create_string_buffer(27 * 8)
    part = _Part(ctypes.addressof(buffer), len(buffer) - 1)
    part.length = 27 * 8
    ptrace(PTRACE_GETREGSET, tid, 1, ctypes.addressof(part))
    return bytes(buffer)[: 27 * 8].hex()


def load(module: str) -> types.ModuleType:
    """The native module."""
    spec = importlib.util.spec_from_file_location("gdbext._native", module)
    assert spec and spec.loader
    native = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(native)
    return native


def main() -> int:
    """See above."""
    module, restart, how, image, *options = sys.argv[1:]
    native = load(module)

    report_reader, report_writer = os.pipe()
    control_reader, control_writer = os.pipe()
    helper = subprocess.Popen(
        [
            restart, "--park", "--report-fd", str(report_writer),
            "--control-fd", str(control_reader), *options, image,
        ],
        pass_fds=(report_writer, control_reader),
        process_group=0,
    )  # fmt: skip
    os.close(report_writer)
    os.close(control_reader)
    with os.fdopen(report_reader) as file:
        line = file.readline()
    print(line.strip(), file=sys.stderr, flush=True)
    report = json.loads(line)
    if "error" in report:
        return helper.wait()
    tids = report["tids"]
    if how == "leave":
        os.close(control_writer)
        return helper.wait()
    for tid in tids:
        ptrace(PTRACE_ATTACH, tid)
        assert os.waitpid(tid, WALL)[0] == tid
        ptrace(PTRACE_SETOPTIONS, tid, 0, DEBUGGERS_OPTIONS)
    finished = native.finish(image, tids)
    assert sorted(thread["tid"] for thread in finished["threads"]) == sorted(tids), finished
    if how == "look":
        for tid in tids:
            print(tid, registers(tid), flush=True)
    os.write(control_writer, b"go\n")
    if how == "die":
        os._exit(0)
    for tid in tids:
        held = [h["signal"] for h in finished["held"] if h["tid"] == tid]
        ptrace(PTRACE_DETACH, tid, 0, held[0] if held else 0)
    return helper.wait()


if __name__ == "__main__":
    assert struct.calcsize("P") == 8
    sys.exit(main())
