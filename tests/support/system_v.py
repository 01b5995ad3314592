"""System V semaphores and message queues of processes that have been killed: nobody else removes
them.

The kernel tells only the number of who used one last. One that stays behind would belong, for all
that anybody can see, to the process of a later test that gets the number again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Container
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_IPC_RMID = 0
_GETPID = 11


def _table(name: str) -> list[dict[str, int]]:
    """The lines of a table in /proc/sysvipc; `perms` is left out."""
    heading, *lines = Path(f"/proc/sysvipc/{name}").read_text().splitlines()
    words = [(heading.split(), line.split()) for line in lines]
    return [
        {key: int(value) for key, value in zip(keys, values) if key != "perms"}
        for keys, values in words
    ]


def remove_objects_last_used_by(pids: Container[int]) -> None:
    """Remove each set and queue that one of these processes,
    which have ended, was the last to use.
    """
    for row in _table("sem"):
        if any(_libc.semctl(row["semid"], i, _GETPID) in pids for i in range(row["nsems"])):
            _libc.semctl(row["semid"], 0, _IPC_RMID)
    for row in _table("msg"):
        if row["lspid"] in pids or row["lrpid"] in pids:
            _libc.msgctl(row["msqid"], _IPC_RMID, None)
