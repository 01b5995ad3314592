"""Files that another user's snapshot names."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO, Union


def regular(path: Union[str, Path]) -> IO[bytes]:
    """Open a regular file for reading, unbuffered. It is not waited for: a FIFO would have that
    done.

    Raises OSError, for another kind of file, too.
    """
    stream = open(path, "rb", buffering=0, opener=_without_waiting)
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return stream


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
