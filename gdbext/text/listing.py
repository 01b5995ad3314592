"""Which snapshots a list has, or a deletion;
and a list as a table that fits the terminal, or as JSON.
"""

from __future__ import annotations

import re
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from ..errors import UsageError
from ..store import history
from ..store.naming import matches
from ..store.store import Entry, Store
from . import report, spans
from .report import aligned, columns, counted, cut, moment, printable, size


class Row(NamedTuple):
    """A snapshot in a list. `current`: the program being debugged was restored from it. `lines`
    draw the tree, if it is one.
    """

    entry: Entry
    current: bool
    lines: str = ""


def chosen(
    entries: Sequence[Entry],
    patterns: Sequence[str] = (),
    *,
    program: Optional[str] = None,
    newest: Optional[int] = None,
) -> List[Entry]:
    """Those of `entries` (oldest first) whose name is one of `patterns` or fits one, of the program
    whose path or last component of it is `program` or fits it; the last `newest` of these.
    """
    found = [
        entry
        for entry in entries
        if (not patterns or any(matches(entry.name, pattern) for pattern in patterns))
        and (program is None or _is_of(entry, program))
    ]
    return found if newest is None else found[max(len(found) - newest, 0) :]


def _is_of(entry: Entry, program: str) -> bool:
    record = entry.record
    return record is not None and (
        matches(record.program_name, program) or matches(record.program, program)
    )


def condemned(
    store: Store, words: Sequence[str], older: Optional[str], every: bool
) -> Tuple[str, ...]:
    """The names of the snapshots that a deletion was asked for: those that `words` select, or all
    of them with `every`; with `older`, a span of time, of these (without words of all) those older
    than that. Raises StoreError, UsageError.
    """
    if every and (words or older):
        raise UsageError("either -all, or names and -older")
    found = store.select(words) if words else store.entries()
    if older is not None:
        limit = time.time() - spans.seconds(older, "an age")
        found = [entry for entry in found if entry.created < limit]
    return tuple(dict.fromkeys(entry.name for entry in found))


def rows(entries: Sequence[Entry], current: Optional[float], *, tree: bool = False) -> List[Row]:
    """The rows of a list. `current`: when the snapshot was made that the program came from."""
    drawn = history.tree(entries) if tree else [("", entry) for entry in entries]
    return [
        Row(
            entry,
            current is not None and entry.record is not None and entry.record.created == current,
            lines,
        )
        for lines, entry in drawn
    ]


def number(text: str) -> int:
    """The N of `-newest N`. Raises UsageError."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UsageError(f'-newest needs a number, not "{text}"')
    return int(text)


def nothing(store: str, narrowed: bool) -> str:
    """What is said when there are no rows."""
    return f"No {'such ' if narrowed else ''}snapshots in {store}."


# -- as a table ------------------------------------------------------------------------------------

_HEADINGS = ("", "Name", "Saved", "Size", "Threads", "Program", "Message", "Stopped at")
_NAME, _SAVED, _SIZE, _THREADS, _PROGRAM, _MESSAGE, _PLACE = range(1, 8)
_GAP = 2
# What messages and places are not cut below.
_LEAST_TEXT = 12
_LEAST_PATH = 8


def table(found: Sequence[Row], width: Optional[int]) -> List[str]:
    """One line per snapshot, none longer than `width` (None:
    as long as they are), and their sum.
    """
    lines: List[List[str]] = [list(_HEADINGS), *(_cells(row) for row in found)]
    lines = [[printable(cell) for cell in line] for line in lines]
    if width is not None:
        _fit(lines, width, max(columns(row.lines + row.entry.name) for row in found))
    texts = [*aligned(lines), total([row.entry for row in found])]
    return [cut(text, width) for text in texts]


def _cells(row: Row) -> List[str]:
    entry, record = row.entry, row.entry.record
    name = f"{row.lines}{entry.name}" + (f" ({entry.path})" if entry.external else "")
    mark = "*" if row.current else ""
    if record is None:
        saved = moment(entry.created)
        return [mark, name, saved, "", "", "", "", f"cannot be read: {entry.problem}"]
    return [
        mark,
        name,
        moment(record.created),
        size(record.file_bytes),
        str(len(record.threads)),
        record.program_name,
        record.message,
        record.place,
    ]


def _fit(lines: List[List[str]], width: int, longest_name: int) -> None:
    """Leave out and cut, in place, until no line is longer: what tells a snapshot from others stays
    longest, and the name, which one has to type, as long as there is room for it.
    """

    def widest(*which: int) -> int:
        return max(columns(line[each]) for line in lines for each in which)

    def fits() -> bool:
        widths = [widest(each) for each in range(len(_HEADINGS))]
        return sum(each + _GAP for each in widths if each) - _GAP <= width

    def leave_out(column: int) -> None:
        for line in lines:
            line[column] = ""

    def cut_all(least: int, *which: int, by: Callable[[str, int], str] = cut) -> None:
        room = widest(*which)
        while not fits() and room > least:
            room -= 1
            for line in lines:
                for each in which:
                    line[each] = by(line[each], room)

    if not fits():
        leave_out(_THREADS)
    if not fits() and len({line[_PROGRAM] for line in lines[1:]}) == 1:
        leave_out(_PROGRAM)
    if not fits():
        for line in lines[1:]:
            # Without the seconds.
            line[_SAVED] = re.sub(r"(:\d\d):\d\d$", r"\1", line[_SAVED])
    # The paths of those elsewhere stand behind their names.
    cut_all(max(longest_name, len(_HEADINGS[_NAME])), _NAME, by=_cut_path)
    cut_all(_LEAST_TEXT, _MESSAGE, _PLACE)
    for column in (_PROGRAM, _SIZE, _SAVED):
        if not fits():
            leave_out(column)


def _cut_path(cell: str, width: int) -> str:
    """A name with the path behind it: of that the end is kept."""
    name, bracket, path = cell.partition(" (")
    room = width - columns(f"{name} (...)")
    if columns(cell) <= width or not bracket:
        return cell
    return f"{name} (...{path[:-1].lstrip('.')[-room:]})" if room >= _LEAST_PATH else name


def total(entries: Sequence[Entry]) -> str:
    """What snapshots take: their files, and the contents that are kept for them, each once."""
    images = sum(entry.record.file_bytes for entry in entries if entry.record is not None)
    seen: Set[str] = set()
    kept = 0
    for entry in entries:
        for each in entry.record.objects if entry.record is not None else ():
            if each.hash not in seen:
                seen.add(each.hash)
                kept += each.size
    files = f", and {size(kept)} of files kept for them" if kept else ""
    return f"{counted(len(entries), 'snapshot')}, {size(images)}{files}"


# -- as JSON ---------------------------------------------------------------------------------------


def as_json(found: Sequence[Row]) -> str:
    """`ckpt list -json`: an array of objects."""
    return report.as_json([summary(row) for row in found])


def summary(row: Row) -> Dict[str, Any]:
    """A row as values of JSON."""
    entry, record = row.entry, row.entry.record
    found: Dict[str, Any] = {
        "name": entry.name,
        "file": str(entry.path),
        "external": entry.external,
        "current": row.current,
    }
    if record is None:
        return {**found, "problem": entry.problem}
    return {
        **found,
        "bytes": record.file_bytes,
        "created": record.created,
        "program": record.program,
        "threads": len(record.threads),
        "pid": record.pid,
        "stop": record.stop,
        "place": record.place,
        "message": record.message,
        "parent": record.parent.table() if record.parent is not None else None,
    }
