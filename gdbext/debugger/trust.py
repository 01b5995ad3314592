"""What of the session in a stranger's snapshot is left out.

GDB evaluates and runs what a session holds: the commands of breakpoints at a stop, displays and
watched expressions at the restore itself, and an expression can run a shell. So it is taken from
snapshots that this user's own GDB has saved, and from others when asked for.
"""

from __future__ import annotations

import re
from typing import Iterable, Iterator, List, NamedTuple, Tuple

from .debugstate import Breakpoint, DebugState

SYMBOL_FILE = "symbol file"
CONDITION = "breakpoint's condition"
# So many of a kind are named, in so many characters each.
_MOST_NAMED = 3
_MOST_SHOWN = 60


class LeftOut(NamedTuple):
    """A kind of what was left out, in the singular, and each of it in a few words."""

    kind: str
    items: Tuple[str, ...]


# What a place may not hold: a condition, what must be evaluated, or an option that GDB has for one.
# GDB ends a place at some words, and writes explicit ones as options.
_NOT_PLAIN = re.compile(
    r"\bif\b|\b(?:thread|task|inferior)\s|[$@=;]"
    r"|(?:^|\s)-(?!(?:function|source|line|label|qualified)\b)"
)
_ADDRESS = re.compile(r"\*\s*0x[0-9a-fA-F]+")


def is_plain_place(spec: str) -> bool:
    """Whether GDB stops at `spec` without evaluating anything of it."""
    spec = spec.strip()
    if spec.startswith("*"):
        return _ADDRESS.fullmatch(spec) is not None
    return _NOT_PLAIN.search(spec) is None


def without_code(state: DebugState) -> Tuple[DebugState, Tuple[LeftOut, ...]]:
    """A session without what GDB would evaluate, run or load of it; and that.

    Kept are the places of breakpoints, the table of signals, where sources are looked for and the
    language; and arguments, environment and directory, which only a `run` of the program itself is
    given.
    """
    kept: List[Breakpoint] = []
    points: List[str] = []
    conditions: List[str] = []
    commands: List[str] = []
    for each in state.breakpoints:
        name = f"{each.number} ({each.command} {each.spec})"
        if each.is_watchpoint or each.command == "dprintf" or not is_plain_place(each.spec):
            points.append(name)
            continue
        if each.condition:
            conditions.append(f"{name}: {each.condition}")
        if each.commands:
            commands.append(f"{name}: {'; '.join(each.commands.splitlines())}")
        kept.append(each._replace(condition="", commands=""))
    files = [state.symbol_file] if state.symbol_file else []
    files += [each.path for each in state.symbol_files]
    found = (
        LeftOut("breakpoint", tuple(points)),
        LeftOut(CONDITION, tuple(conditions)),
        LeftOut("breakpoint's commands", tuple(commands)),
        LeftOut("display", tuple(each.expression for each in state.displays)),
        LeftOut(SYMBOL_FILE, tuple(files)),
    )
    harmless = state._replace(
        breakpoints=tuple(kept), displays=(), symbol_files=(), symbol_file=""
    )
    return harmless, tuple(each for each in found if each.items)


def left_out_lines(left: Iterable[LeftOut], how: str) -> Iterator[str]:
    """Lines about what was left out, and `how` it is to be had; none for nothing."""
    left = tuple(left)
    if not left:
        return
    yield (
        "the session was not saved here: "
        f"what GDB would evaluate or run of it is left out ({how})"
    )
    for kind, items in left:
        named = "; ".join(_shortened(each) for each in items[:_MOST_NAMED])
        more = f"; and {len(items) - _MOST_NAMED} more" if len(items) > _MOST_NAMED else ""
        yield f"left out: {_counted(len(items), kind)}: {named}{more}"


def _counted(count: int, kind: str) -> str:
    if count == 1 or kind.endswith("s"):
        return f"{count} {kind}"
    return f"{count} {kind}s"


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."
