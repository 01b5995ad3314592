"""What is taken of the session in a snapshot: all of one that this user has saved, and of a
stranger's what GDB neither evaluates nor runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Optional, Tuple

from ..errors import CkptError
from ..records import Record
from ..store.store import Store
from . import trust
from .debugstate import DebugState


class Taken(NamedTuple):
    """The session as it may be used, and what was left out of it."""

    state: DebugState
    left: Tuple[trust.LeftOut, ...]


NOTHING = Taken(DebugState(), ())


def taken(
    store: Store, path: Path, record: Record, fd: Optional[int] = None, trust_all: bool = False
) -> Taken:
    """The session of the snapshot at `path`. `fd`: the file, if it is open. `trust_all`: whoever
    has saved it. Raises CkptError for one in a format that is not known.
    """
    state = DebugState.of(record.session)
    if trust_all or store.is_own_session(path, record, fd):
        return Taken(state, ())
    return Taken(*trust.without_code(state))


def left_out_lines(store: Store, path: Path, record: Record) -> Tuple[str, ...]:
    """Lines about what a restore would leave out."""
    try:
        left = taken(store, path, record).left
    except CkptError:
        return ()  # of a format that is not known: a restore says so
    return tuple(trust.left_out_lines(left, "a restore with -trust takes it"))
