"""`ckpt back` and `ckpt forward`: from one snapshot of a program's history to another."""

from __future__ import annotations

from typing import Dict, List, Optional

from ..debugger.launch import RestartOptions
from ..errors import CkptError, UsageError
from ..store import history
from ..store.store import Entry, Store
from ..text.report import named
from . import positions, recordings, restoring, selected_pid

# Whence each snapshot was reached by going back:
# the snapshot (by when they were made) that is ahead.
_ahead: Dict[float, float] = {}


def steps(text: Optional[str]) -> int:
    """The N of the commands. Raises UsageError."""
    if text is None:
        return 1
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise UsageError(f'N is a number of snapshots, not "{text}"')
    return int(text)


def back(store: Store, options: RestartOptions, count: int) -> restoring.Restored:
    """Restore the snapshot `count` before. Raises CkptError, gdb.error."""
    here = _position()
    past = history.past(store.entries(), here)
    if len(past) < count:
        raise CkptError(
            f"there are only {len(past)} snapshots before"
            if past
            else "there is no snapshot before in the history of this program"
        )
    way = [each.created for each in past[-count:]]
    if here.here is not None:
        way.append(here.here)
    restored = _restore(store, options, past[-count], asked=here.here is None)
    _ahead.update(zip(way, way[1:]))
    return restored


def forward(store: Store, options: RestartOptions, count: int) -> restoring.Restored:
    """Restore the snapshot `count` after. Raises CkptError, gdb.error."""
    here = _position()
    entries = store.entries()
    known = history.known(entries)
    # A program that has gone on is still ahead of where it came from.
    start = here.here if here.here is not None else here.origin.created if here.origin else None
    entry = known.get(start) if start is not None else None
    if entry is None:
        raise CkptError("the program is not at a snapshot, and was not restored from one")
    for _ in range(count):
        entry = _next(entries, known, entry)
    return _restore(store, options, entry, asked=here.here is None)


def _next(entries: List[Entry], known: Dict[float, Entry], entry: Entry) -> Entry:
    remembered = known.get(_ahead.get(entry.created, 0.0))
    if remembered is not None:
        return remembered
    after = history.following(entries, entry)
    assert entry.record is not None
    same = [each for each in after if each.record and each.record.run == entry.record.run]
    if len(after) == 1 or same:
        return after[0]
    if not after:
        raise CkptError(f'there is no snapshot after "{entry.name}"')
    names = named([each.name for each in after])
    raise CkptError(f'several come after "{entry.name}": {names}: restore one by its name')


def _position() -> history.Position:
    if recordings.is_here():
        raise CkptError('a recording has no snapshots to go to: see "help ckpt goto"')
    if not selected_pid():
        raise CkptError("there is no program being debugged")
    return positions.position()


def _restore(
    store: Store, options: RestartOptions, entry: Entry, asked: bool
) -> restoring.Restored:
    request = restoring.RestoreRequest(entry.target, options, True, ask=asked)
    return restoring.restore(store, request)
