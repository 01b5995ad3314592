"""A value of the program as a table of names and texts, so that two of them can be compared when
neither is at hand any more.

    {"queue.length": "3", "queue.head->id": "17", ...}

The user's pretty-printers apply, as in `print`.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

import gdb

from . import settings

# How much of one value is looked at.
MOST_PARTS = 20_000
MOST_STEPS = 200

OPTIMIZED_OUT = "<optimized out>"


class _Part(NamedTuple):
    name: str
    value: Any  # a gdb.Value, or what a pretty-printer gave
    steps: int  # from the value asked for
    arrow: bool  # whether `name` is a pointer to the value


def parts(name: str, value: Any, follow: bool) -> Tuple[Dict[str, str], bool]:
    """All parts of `value` that have a text of their own, by name; and whether some were left out.
    With `follow` also what its pointers lead to. Must run while the value's inferior is the current
    one.
    """
    found: Dict[str, str] = {}
    cut = False
    seen: Set[Tuple[int, str]] = set()
    waiting: Deque[_Part] = deque([_Part(name, value, 0, False)])
    while waiting:
        part = waiting.popleft()
        if len(found) >= MOST_PARTS or part.steps > MOST_STEPS:
            cut = True
            continue
        try:
            waiting.extend(_look(part, found, follow, seen))
        except (gdb.error, RuntimeError, ValueError, TypeError) as error:
            found[part.name] = f"<{settings.problem_of(error)}>"
    return found, cut


def _look(
    part: _Part, found: Dict[str, str], follow: bool, seen: Set[Tuple[int, str]]
) -> Iterable[_Part]:
    """Note the text of a part, or return the parts that it consists of."""
    value = part.value
    if not isinstance(value, gdb.Value):
        found[part.name] = str(value)
        return []
    if value.is_optimized_out:
        found[part.name] = OPTIMIZED_OUT
        return []
    printer = gdb.default_visualizer(value)
    if printer is not None:
        return _printed(part, printer, found)
    kind = value.type.strip_typedefs()
    code = kind.code
    if code in (gdb.TYPE_CODE_REF, getattr(gdb, "TYPE_CODE_RVALUE_REF", gdb.TYPE_CODE_REF)):
        return [part._replace(value=value.referenced_value())]
    if code == gdb.TYPE_CODE_STRUCT:
        return _fields(part, kind)
    if code == gdb.TYPE_CODE_UNION:
        first = next(iter(kind.fields()), None)
        if first is not None and first.type is not None and first.type.sizeof == kind.sizeof:
            # The others show the same bytes.
            return [_member(part, first)]
    if code == gdb.TYPE_CODE_ARRAY and not _is_text(kind.target()):
        low, high = kind.range()
        steps = part.steps + 1
        return (
            _Part(f"{part.name}[{index}]", value[index], steps, False)
            for index in range(low, min(high, low + MOST_PARTS) + 1)
        )
    if not part.arrow:
        found[part.name] = value.format_string()
    if code == gdb.TYPE_CODE_PTR and follow:
        return _target(part, kind, seen)
    return []


def _printed(part: _Part, printer: Any, found: Dict[str, str]) -> Iterator[_Part]:
    """What a pretty-printer makes of a value."""
    hint = printer.display_hint() if hasattr(printer, "display_hint") else None
    if not hasattr(printer, "children") or hint == "string":
        found[part.name] = part.value.format_string()
        return
    if hasattr(printer, "to_string"):
        text = printer.to_string()
        if text is not None:
            found[part.name] = text.format_string() if isinstance(text, gdb.Value) else str(text)
    key = ""
    for index, (name, child) in enumerate(printer.children()):
        if index > 2 * MOST_PARTS:
            break
        if hint == "map":
            if index % 2 == 0:
                key = child.format_string() if isinstance(child, gdb.Value) else str(child)
                continue
            name = f"[{key}]"
        joiner = "" if str(name).startswith("[") else "."
        yield _Part(f"{part.name}{joiner}{name}", child, part.steps + 1, False)


def _fields(part: _Part, kind: Any) -> List[_Part]:
    # Static members are variables of their own.
    return [_member(part, field) for field in kind.fields() if hasattr(field, "bitpos")]


def _member(part: _Part, field: Any) -> _Part:
    name, arrow = part.name, part.arrow
    if field.name and not field.is_base_class:
        name, arrow = f"{name}{'->' if arrow else '.'}{field.name}", False
    return _Part(name, part.value[field], part.steps + 1, arrow)


def _is_text(kind: Any) -> bool:
    kind = kind.strip_typedefs()
    return bool(kind.sizeof == 1 and kind.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_CHAR))


def _target(part: _Part, kind: Any, seen: Set[Tuple[int, str]]) -> List[_Part]:
    """What a pointer leads to, once."""
    target = kind.target().strip_typedefs()
    address = int(part.value)
    known = (address, str(target))
    if (
        address == 0
        or known in seen
        or target.code in (gdb.TYPE_CODE_VOID, gdb.TYPE_CODE_FUNC)
        or _is_text(target)
    ):
        return []
    seen.add(known)
    value = part.value.dereference()
    try:
        if target.code == gdb.TYPE_CODE_STRUCT:
            value = value.cast(value.dynamic_type)
        value.fetch_lazy()
    except gdb.error:
        return []  # it leads nowhere
    if target.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        if gdb.default_visualizer(value) is None:
            return [_Part(part.name, value, part.steps + 1, True)]
        return [_Part(f"(*{part.name})", value, part.steps + 1, False)]
    return [_Part(f"*{part.name}", value, part.steps + 1, False)]
