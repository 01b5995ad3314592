"""Saving a running process that one may trace, from outside GDB: by the program ckpt-save."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import List, NamedTuple, Optional, Union

from .. import native
from ..errors import CkptError, one_line
from ..records import Record
from ..store.store import Store
from .snapshot import describe, open_store


class SavedProcess(NamedTuple):
    """What was saved: the snapshot's name and file, and its record."""

    name: str
    path: Path
    record: Record


class Order(NamedTuple):
    """A save that is about to be made: the words of ckpt-save's command line, and what the snapshot
    will be called.
    """

    words: List[str]
    store: Store
    name: str
    path: Path

    def done(self) -> SavedProcess:
        """Note what ckpt-save has saved. Raises CkptError."""
        self.store.register(self.name, self.path)
        return SavedProcess(self.name, self.path, describe(self.path))


def order(
    store: Store,
    pid: int,
    name: Optional[str],
    message: str,
    force: bool,
    file_limit_bytes: Optional[int],
) -> Order:
    """Make ready to save the process `pid`. Raises CkptError."""
    store.create()
    chosen = name or store.default_name(_program_of(pid))
    store.check_free(chosen, force)
    path = store.path_of(chosen)
    words = [str(native.find_program("ckpt-save")), "--store", str(store.root)]
    words += ["--message", message] if message else []
    words += ["--file-limit", str(file_limit_bytes)] if file_limit_bytes is not None else []
    # Another saver that has chosen the same name at the same time is not to be replaced.
    words += ["--force"] if force and name else []
    return Order([*words, "--", str(pid), str(path)], store, chosen, path)


def save_pid(
    pid: int,
    name: Optional[str] = None,
    *,
    message: str = "",
    force: bool = False,
    file_limit_bytes: Optional[int] = None,
    store: Union[str, "os.PathLike[str]", None] = None,
) -> SavedProcess:
    """Save the process `pid`, which must be one that this user may trace and that is not traced,
    and let it go on. Without a name it is PROGRAM-N. `store` as in `Snapshot.open`.

    Raises CkptError; the process is then as it was, and there is no snapshot.
    """
    directory = Path(store).expanduser().absolute() if store is not None else None
    made = order(open_store(directory), pid, name, message, force, file_limit_bytes)
    done = subprocess.run(
        made.words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode != 0:
        problem = one_line(done.stderr.decode(errors="replace"))
        raise CkptError(problem.replace("ckpt-save: ", "", 1) or "ckpt-save was ended by a signal")
    return made.done()


def _program_of(pid: int) -> str:
    try:
        path = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return "program"  # ckpt-save will say what is wrong with it
    return path[: -len(" (deleted)")] if path.endswith(" (deleted)") else path
