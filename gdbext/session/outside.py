"""What a replay, which runs outside, has to do with this GDB."""

from __future__ import annotations

import os

import gdb


def this_gdb() -> str:
    """The program that this GDB is."""
    return os.readlink("/proc/self/exe")


def set_result(status: int) -> None:
    """Let scripts see how a replay ended, as $_ckpt_replay."""
    gdb.set_convenience_variable("_ckpt_replay", status)
