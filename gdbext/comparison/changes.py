"""What has changed between two snapshots by name: what `ckpt diff` in GDB prints."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..text.report import counted, printable
from .compare import Difference
from .difference import other_lines

# Values are shown in one line up to this many characters; JSON has all of them.
_LONGEST = 200
_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Change(NamedTuple):
    """`name` had the value `old` and has `new`; None where there was no such thing. `where` is the
    source file of a variable, or the frame of a local one, else "".
    """

    where: str
    name: str
    old: Optional[str]
    new: Optional[str]


class Moved(NamedTuple):
    """The innermost frame of a thread was at `old` and is at `new`."""

    thread: int
    old: str
    new: str


class Changes(NamedTuple):
    """All that was found. `cut` names what was not followed to its end."""

    variables: Tuple[Change, ...]
    expressions: Tuple[Change, ...]
    moved: Tuple[Moved, ...]
    locals: Tuple[Change, ...]
    cut: Tuple[str, ...]


def between(
    old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[Tuple[str, Optional[str], Optional[str]]]:
    """The names with other values, in the order of `old`, then of `new`."""
    for name, value in old.items():
        if new.get(name) != value:
            yield name, value, new.get(name)
    for name, value in new.items():
        if name not in old:
            yield name, None, value


def between_runs(
    old: Mapping[str, str], new: Mapping[str, str]
) -> Iterator[Tuple[str, Optional[str], Optional[str]]]:
    """The same where addresses say nothing."""
    for name, before, after in between(old, new):
        if before is None or after is None or _no_address(before) != _no_address(after):
            yield name, before, after


def _no_address(text: str) -> str:
    return _ADDRESS.sub("0x", text)


def lines(changes: Changes, other: Difference, limit: int) -> Iterator[str]:
    """For people; at most `limit` changes of each kind."""
    nothing = True
    for title, found in (
        ("Variables", changes.variables),
        ("Expressions", changes.expressions),
        ("Locals", changes.locals),
    ):
        if found:
            nothing = False
            yield f"{title}:"
            yield from _block(found, limit)
        if title == "Expressions" and changes.moved:
            nothing = False
            yield "Threads:"
            for each in changes.moved[:limit]:
                yield f"  {each.thread}: {printable(each.old)} -> {printable(each.new)}"
            if len(changes.moved) > limit:
                yield f"  ... {len(changes.moved) - limit} more (-limit)"
    for text in changes.cut:
        yield f"note: {printable(text)}"
    rest = list(other_lines(other))
    yield from rest
    if other.pages:
        pages = counted(len(other.pages), "page")
        more = " and more" if other.truncated else ""
        yield f"Memory: {pages}{more} with other bytes in all (-raw shows them)"
    elif nothing and not rest:
        yield "Nothing differs."


def _block(found: Sequence[Change], limit: int) -> Iterator[str]:
    for each in found[:limit]:
        where = f" ({printable(each.where)})" if each.where else ""
        yield f"  {printable(each.name)}{where}: {_value(each.old)} -> {_value(each.new)}"
    if len(found) > limit:
        yield f"  ... {len(found) - limit} more (-limit)"


def _value(text: Optional[str]) -> str:
    if text is None:
        return "(not there)"
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."


def table(changes: Changes, limit: int) -> Dict[str, Any]:
    """As values of JSON; at most `limit` changes of each kind."""

    def rows(found: Sequence[Any]) -> List[Dict[str, Any]]:
        return [each._asdict() for each in found[:limit]]

    return {
        "variables": rows(changes.variables),
        "expressions": rows(changes.expressions),
        "threads": rows(changes.moved),
        "locals": rows(changes.locals),
        "cut": list(changes.cut),
        "truncated": any(len(found) > limit for found in changes[:4]),
    }
