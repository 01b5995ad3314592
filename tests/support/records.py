"""What the native module says of a snapshot, for tests that have none."""

from __future__ import annotations

import copy
from typing import Any, Dict

_THREAD: Dict[str, Any] = {
    "lwp": 42, "remembered": 42, "ended": False, "registers": {"rip": 0x401000},
}  # fmt: skip

_DESCRIBED: Dict[str, Any] = {
    "format": 2,
    "creator": "gdb-ckpt 0.1.0",
    "created": 1795218062.25,
    "name": "before-crash",
    "message": "queue is already corrupt here",
    "stop": "main () at server.c:88",
    "place": "",
    "parent": None,
    "store": "/home/user/.local/share/ckpt",
    "host": {"kernel": "6.1.0", "hostname": "box", "boot_id": "", "cpu_flags": ["avx2"]},
    "program": {
        "path": "/usr/bin/server", "argv": ["server", "-v"], "environ": [], "object": "aa",
    },
    "process": {"pid": 42, "cwd": "/srv", "start_ticks": 0},
    "threads": [
        {
            **_THREAD, "tid": 42, "number": 1, "name": "server", "pthread": 4096,
            "held_signal": 11,
        },
        {
            **_THREAD, "tid": 43, "number": 3, "name": "worker", "pthread": 8192,
            "held_signal": 0, "remembered": 43,
        },
    ],
    "selected": {"tid": 43, "frame": 2},
    "files": [{"fd": 0, "kind": "terminal", "path": "/dev/pts/1"}],
    "terminal": {"iflag": 1, "oflag": 2, "cflag": 3, "lflag": 4, "cc": [3]},
    "terminal_input": [],
    "fidelity": [{"severity": "lost", "object": "fd 5", "kind": "socket", "text": "it is closed"}],
    "objects": [{"hash": "aa", "size": 100, "path": "/usr/bin/server", "name": "server"}],
    "session": {"format": 1},
    "file_bytes": 123456,
}  # fmt: skip


def described(**changes: Any) -> Any:
    """As `native.core.describe()` describes a snapshot, with some members changed."""
    return {**copy.deepcopy(_DESCRIBED), **changes}
