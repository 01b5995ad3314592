"""Files that appear under their name when they are complete, or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from .errors import CkptError


@contextmanager
def new_file(path: Path, *, force: bool = False, mode: int = 0o600) -> Iterator[int]:
    """A descriptor to write the content of `path` to; the file gets its name when the block ends
    well. `force`: an existing file is replaced. Raises CkptError.
    """
    path = path.absolute()
    try:
        if path.is_dir():
            raise CkptError(f"{path} is a directory")
        if not force and os.path.lexists(path):
            raise CkptError(f"{path} exists already")
        try:
            # A file without a name leaves nothing behind, however we end.
            fd = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
            temporary = ""
        except OSError:
            fd, temporary = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
            os.fchmod(fd, mode)
        try:
            yield fd
            _publish(fd, temporary, path, force)
        finally:
            os.close(fd)
            if temporary and os.path.lexists(temporary):
                os.unlink(temporary)
    except FileExistsError:
        raise CkptError(f"{path} exists already") from None
    except OSError as error:
        raise CkptError(f"{path}: {error.strerror}") from None


def _publish(fd: int, temporary: str, path: Path, force: bool) -> None:
    if not force:
        _link(fd, temporary, path)
    elif temporary:
        os.replace(temporary, path)
    else:
        # Replacing is for files that have a name.
        with tempfile.TemporaryDirectory(prefix=f".{path.name[:100]}.", dir=path.parent) as place:
            named = Path(place, "file")
            _link(fd, temporary, named)
            os.replace(named, path)


def _link(fd: int, temporary: str, path: Path) -> None:
    # Only with a directory given does Python ask the kernel to follow the link in /proc.
    proc = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(temporary or str(fd), path, src_dir_fd=proc, follow_symlinks=True)
    finally:
        os.close(proc)


def write_all(fd: int, content: memoryview, offset: int) -> None:
    """Write all of `content` at `offset`. Raises OSError."""
    while content:
        written = os.pwrite(fd, content[: 1 << 26], offset)
        content = content[written:]
        offset += written
