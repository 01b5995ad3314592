"""The stacks of a snapshot, from outside GDB:
a GDB of its own opens it, and writes them to a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..errors import RecordError, SnapshotError, one_line
from ..native import PACKAGE
from ..records import read, read_list

# For symbols of large programs on a slow machine; what takes longer hangs.
_TIMEOUT_S = 120


class Frame(NamedTuple):
    """A frame of a stack. `address` is its program counter; `function`, `file` (the last component
    of its path) and `line` are "" and 0 where nothing is known; `library` is the path of the
    library it is in, "" for the executable.
    """

    address: int
    function: str
    file: str
    line: int
    library: str

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}" if self.file else os.path.basename(self.library)
        return f"{self.function or hex(self.address)} at {at}" if at else self.function


def backtraces(path: Path, store: Path, gdb: Optional[str]) -> Dict[int, Tuple[Frame, ...]]:
    """The frames of each thread by its id. Raises SnapshotError."""
    program = gdb or os.environ.get("CKPT_GDB") or "gdb"
    with tempfile.TemporaryDirectory(prefix="ckpt-stacks-") as directory:
        output = Path(directory) / "stacks"
        plan = Path(directory) / "plan"
        plan.write_text(json.dumps([str(path), str(store), str(output)]))
        loader = PACKAGE / "load.py"
        commands = (
            # A user's settings and questions have no place here.
            "set debuginfod enabled off",
            f"source {loader}",
            f"python __import__('gdbext.session.stacks').session.stacks.write({str(plan)!r})",
        )
        words = [program, "-nx", "-nh", "-q", "-batch"]
        words += [word for command in commands for word in ("-ex", command)]
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            raise SnapshotError(f"backtraces need GDB: {program}: {error.strerror}") from None
        except subprocess.TimeoutExpired:
            raise SnapshotError(f"{path}: {program} took more than {_TIMEOUT_S} s") from None
        try:
            return _read(json.loads(output.read_text()))
        except (OSError, ValueError, RecordError):
            problem = one_line(done.stderr.decode(errors="replace")) or "it wrote nothing"
            raise SnapshotError(f"{path}: no backtraces from {program}: {problem}") from None


def _read(found: Any) -> Dict[int, Tuple[Frame, ...]]:
    return {
        read(thread, "tid", int): tuple(
            Frame(
                read(frame, "address", int),
                read(frame, "function", str),
                read(frame, "file", str),
                read(frame, "line", int),
                read(frame, "library", str),
            )
            for frame in read_list(thread, "frames", dict)
        )
        for thread in _tables(found)
    }


def _tables(found: Any) -> List[Dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise RecordError("no list of threads")
    return found
