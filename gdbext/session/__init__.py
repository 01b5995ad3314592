"""The adapter to GDB: with `load.py` and `commands/_base.py` the only code that imports `gdb`.

    settings    changes of GDB's state that undo themselves
    inferior    what GDB knows of the program
    debugger    breakpoints, displays and settings: read for a save, made again by a restore
    saving      one save
    restoring   one restore
    life        what a restored program needs from GDB afterwards
"""

from __future__ import annotations

import os
from pathlib import Path

import gdb

from .. import native
from ..errors import CkptError
from ..records import Record
from ..store import Store, default_directory
from .restoring import Restored, RestoreRequest, print_location, restore
from .saving import Saved, SaveRequest, save


def describe(path: Path) -> Record:
    """The record of the image at `path`. Raises CkptError for one that cannot be read."""
    try:
        return Record.of(native.module().describe(str(path)))
    except native.error_type() as error:
        raise CkptError(str(error)) from None


def store_directory() -> Path:
    """The store's directory: `set ckpt directory`, else the default."""
    chosen = gdb.parameter("ckpt directory")
    if chosen:
        return Path(str(chosen)).expanduser().absolute()
    return default_directory(os.environ)


def open_store() -> Store:
    """The store that is set now."""
    return Store(store_directory(), describe)


def show(*lines: str) -> None:
    """Print lines through GDB (its pager, its log)."""
    for line in lines:
        gdb.write(line + "\n")


__all__ = [
    "Restored",
    "RestoreRequest",
    "SaveRequest",
    "Saved",
    "describe",
    "open_store",
    "print_location",
    "restore",
    "save",
    "show",
    "store_directory",
]
