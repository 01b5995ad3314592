"""What a snapshot is called, and the remark that is kept with it: `ckpt rename`, `ckpt note`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional

from .. import native
from ..errors import CkptError, StoreError
from .naming import check_name
from .store import Store


class Renamed(NamedTuple):
    """What a renaming did: the names, and the files (of one that lies elsewhere the same)."""

    old: str
    new: str
    before: Path
    path: Path


def rename(store: Store, old: str, new: str) -> Renamed:
    """Call the snapshot `old` of the store `new`. Raises CkptError; it is then called as before."""
    entry = store.find(old)
    if entry is None:
        raise StoreError(f'there is no snapshot "{old}"; "ckpt list" shows what there is')
    check_name(new)
    if store.find(new) is not None:
        raise StoreError(f'there is already a snapshot "{new}"')
    with store.in_use():
        _relabel(entry.path, name=new)
        if entry.external:
            return Renamed(old, new, entry.path, entry.path)
        try:
            return Renamed(old, new, entry.path, store.move(entry, new))
        except StoreError:
            _relabel(entry.path, name=old)
            raise


def note(store: Store, name: str, text: str) -> str:
    """Keep `text` with a snapshot of the store, or a file, in place of the remark that it has. Its
    name. Raises CkptError.
    """
    found, path = store.resolve(name)
    _relabel(path, message=text)
    return found


def _relabel(path: Path, name: Optional[str] = None, message: Optional[str] = None) -> None:
    try:
        native.core.relabel(str(path), name, message)
    except native.core.NativeError as error:
        raise CkptError(str(error)) from None
