"""How the snapshots of a store lead from one to the next: those of one process follow each other,
and a restored process goes on from the snapshot that it was restored from.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..records import Origin, Record
from .store import Entry


class Position(NamedTuple):
    """Where a program is in its history. `run` names the process (see `records.run_id`), `origin`
    is what it was restored from. `here` is when the snapshot was made at which it still is, None
    when it has gone on since.
    """

    run: str
    origin: Optional[Origin]
    here: Optional[float]

    @classmethod
    def of(cls, entry: Entry) -> "Position":
        """That of a snapshot."""
        assert entry.record is not None
        return cls(entry.record.run, entry.record.parent, entry.record.created)


def known(entries: Sequence[Entry]) -> Dict[float, Entry]:
    """The snapshots that can be read, oldest first, by when they were made. Of copies one."""
    found: Dict[float, Entry] = {}
    for entry in entries:
        if entry.record is not None:
            found.setdefault(entry.record.created, entry)
    return dict(sorted(found.items()))


def past(entries: Sequence[Entry], position: Position) -> List[Entry]:
    """The snapshots through which the program came to a position, oldest first; the one at which it
    is not among them.
    """
    by_time = known(entries)
    found: List[Entry] = []
    run, origin, until = position.run, position.origin, position.here
    while True:
        mine = [
            entry
            for created, entry in by_time.items()
            if run and _record(entry).run == run and (until is None or created < until)
        ]
        found[:0] = mine
        # Of a copied snapshot a program may seem to come from itself.
        parent = by_time.pop(origin.created, None) if origin is not None else None
        if parent is None or origin is None:
            return found
        if position.here != origin.created:
            found.insert(0, parent)
        record = _record(parent)
        run, origin, until = record.run, record.parent, record.created


def following(entries: Sequence[Entry], entry: Entry) -> List[Entry]:
    """What comes after a snapshot: the next one of its process, then the first one of each process
    that was restored from it, the latest first.
    """
    by_time = known(entries)
    here = _record(entry)
    same = [
        each
        for created, each in by_time.items()
        if here.run and _record(each).run == here.run and created > here.created
    ]
    branches: Dict[str, Entry] = {}
    for each in by_time.values():
        record = _record(each)
        if record.parent is not None and record.parent.created == here.created:
            branches.setdefault(record.run or str(record.created), each)
    return same[:1] + sorted(branches.values(), key=lambda each: -each.created)


def line(entries: Sequence[Entry], position: Position) -> List[Entry]:
    """The snapshots through which a program came to a position, the one at which it is, and those
    that followed, as long as it is clear which; oldest first.
    """
    found = past(entries, position)
    if position.here is not None and position.here in known(entries):
        found.append(known(entries)[position.here])
    while found:
        entry = found[-1]
        after = following(entries, entry)
        same = [each for each in after if _record(each).run == _record(entry).run]
        if not (same or len(after) == 1) or after[0] in found:
            break
        found.append(after[0])
    return found


def tree(entries: Sequence[Entry]) -> List[Tuple[str, Entry]]:
    """The snapshots with lines that draw from which one the saved program had been restored, each
    below its parent, oldest first.
    """
    by_time = known(entries)
    children: Dict[Optional[float], List[Entry]] = {}
    for entry in entries:
        parent = entry.record.parent if entry.record is not None else None
        drawn = parent is not None and parent.created in by_time and parent.created < entry.created
        children.setdefault(parent.created if parent and drawn else None, []).append(entry)
    found: List[Tuple[str, Entry]] = []
    # Not recursive: a chain of restores may be long.
    waiting = [("", "", entry) for entry in reversed(children.get(None, []))]
    while waiting:
        lines, below, entry = waiting.pop()
        found.append((lines, entry))
        if entry.record is None or by_time.get(entry.record.created) is not entry:
            continue
        mine = children.get(entry.record.created, [])
        for child in reversed(mine):
            last = child is mine[-1]
            waiting.append(
                (below + ("`- " if last else "|- "), below + ("   " if last else "|  "), child)
            )
    return found


def _record(entry: Entry) -> Record:
    assert entry.record is not None
    return entry.record
