"""The user's breakpoints, watchpoints and catchpoints:
read for a save, made again for a restore.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import gdb

from ..debugger import gdbtext
from ..debugger.debugstate import Breakpoint, missing_breakpoints, runs_shell
from . import inferior
from .output import unnoticed
from .settings import (
    attempt,
    convenience_kept,
    exact,
    language,
    present_language,
    problem_of,
    problem_with,
    quietly,
    script,
    select_level,
    selected_level,
    setting,
    unchosen,
)

# Numbers of our own breakpoints, which are not the user's to be kept.
own: Set[int] = set()

# -- reading ---------------------------------------------------------------------------------------

_WATCH_COMMANDS = {
    "BP_WATCHPOINT": "watch",
    "BP_HARDWARE_WATCHPOINT": "watch",
    "BP_READ_WATCHPOINT": "rwatch",
    "BP_ACCESS_WATCHPOINT": "awatch",
}


def read() -> Tuple[Tuple[Breakpoint, ...], List[str]]:
    """The user's breakpoints in the order of their numbers, and notes on those that cannot be kept.
    """
    known = {point.number: point for point in users()}
    listed: Dict[int, Dict[str, Any]] = {}
    frames: Dict[int, Tuple[int, int]] = {}
    scoped: Mapping[int, int] = {}
    # The listings have a side effect, so they are asked only when the API leaves something open:
    # catchpoints, the conditions of pending ones, what it does not show at all (dprintf), the
    # frames of watched locals.
    with convenience_kept("_", "__"):
        if any(_is_catchpoint(each) or each.pending for each in known.values()) or _has_gaps(known):
            listed = {
                number: row for number, row in _listing().items() if number not in own
            }
        if (
            any(_watch_command(point) for point in known.values())
            and gdb.selected_thread() is not None
        ):
            frames, scoped = inferior.watched_frames()
    found: List[Breakpoint] = []
    notes: List[str] = []
    for number in sorted(set(known) | set(listed)):
        row = listed.get(number, {})
        point = known.get(number)
        made = (
            _read_known(point, row, frames, notes)
            if point is not None
            else _read_listed(number, row, notes)
        )
        if made is None:
            continue
        if number in scoped and number not in frames:
            notes.append(
                f"watchpoint {number} ({made.spec}) watches locals of a frame that was not found: "
                "not kept"
            )
            continue
        found.append(made)
    return tuple(found), notes


def users() -> List[Any]:
    """The user's breakpoints and watchpoints, those that Python shows."""
    return [
        point
        for point in gdb.breakpoints()
        if point.visible and point.number > 0 and point.number not in own
    ]


def _has_gaps(known: Mapping[int, Any]) -> bool:
    """Whether there are numbers the API has no breakpoint for: of deleted ones, or of kinds it does
    not show.
    """
    last = gdb.convenience_variable("bpnum")
    return last is not None and len(known) < int(last)


def _listing() -> Dict[int, Dict[str, Any]]:
    """All breakpoints as GDB lists them, those included that the Python API does not show.

    Not `save breakpoints`: GDB 13.1 dies of an assertion when there is a `catch syscall NAME`.
    """
    return gdbtext.listed_breakpoints(quietly("info breakpoints"))


def _is_catchpoint(point: Any) -> bool:
    return bool(getattr(gdb, "BP_CATCHPOINT", None) == point.type)


def _watch_command(point: Any) -> Optional[str]:
    for constant, command in _WATCH_COMMANDS.items():
        if getattr(gdb, constant, None) == point.type:
            return command
    return None


def _read_known(
    point: Any, row: Mapping[str, Any], frames: Mapping[int, Tuple[int, int]], notes: List[str]
) -> Optional[Breakpoint]:
    number = int(point.number)
    if type(point) is not gdb.Breakpoint:
        # Made by a Python script, with methods of its own; without them it would be another
        # breakpoint.
        notes.append(
            f"breakpoint {number} is made by Python code ({type(point).__name__}): not kept"
        )
        return None
    temporary = bool(point.temporary)
    watch = _watch_command(point)
    tid, frame = frames.get(number, (0, -1))
    address = 0
    condition = str(exact(lambda: point.condition) or "")
    if _is_catchpoint(point):
        words = gdbtext.catch_arguments(str(row.get("what", "")))
        if words is None:
            notes.append(
                f"catchpoint {number} ({row.get('what', '?')}) is of a kind that cannot be kept"
            )
            return None
        command, spec = "tcatch" if row.get("disp") == "del" else "catch", words
        if row.get("regexp"):
            spec += f" {row['regexp']}"
    elif watch is not None:
        command, spec = watch, str(exact(lambda: point.expression))
        places = locations(point)
        address = int(places[0].address) if len(places) == 1 else 0
    elif (location := exact(lambda: point.location)) is not None:
        hardware = point.type == getattr(gdb, "BP_HARDWARE_BREAKPOINT", None)
        command = ("t" if temporary else "") + ("hbreak" if hardware else "break")
        spec = str(location)
        if point.pending and not condition:
            spec, condition = gdbtext.pending_condition(spec, str(row.get("what", spec)))
    else:
        return None
    disabled: Tuple[int, ...] = ()
    if watch is None and not point.pending:
        disabled = tuple(
            index for index, place in enumerate(locations(point), 1) if not place.enabled
        )
        if len(disabled) == len(locations(point)):
            # A condition that is invalid everywhere disables them; GDB will do so again.
            disabled = ()
    return Breakpoint(
        number=number,
        command=command,
        spec=spec,
        condition=condition,
        commands=str(exact(lambda: point.commands) or ""),
        ignore_count=int(point.ignore_count),
        enabled=bool(point.enabled),
        thread=int(point.thread or 0),
        task=int(point.task or 0),
        tid=tid,
        frame=frame,
        address=address,
        disabled_locations=disabled,
    )


def locations(point: Any) -> Sequence[Any]:
    """The places of a breakpoint; none in a GDB that does not tell (before 13)."""
    try:
        return list(point.locations)
    except (AttributeError, gdb.error, RuntimeError):
        return []


def _exact(row: Mapping[str, Any]) -> str:
    """The place of a listed breakpoint: its line, or its address when the line stands for more
    places than the breakpoint had (a function of one line has two).
    """
    location, address = str(row.get("location", "")), str(row.get("address", ""))
    if not location or not address.startswith("0x"):
        return location
    try:
        places = gdb.decode_line(location)[1] or ()
    except gdb.error:
        return location
    return f"*{address}" if len(places) > 1 else location


def _read_listed(number: int, row: Mapping[str, Any], notes: List[str]) -> Optional[Breakpoint]:
    """A breakpoint the Python API does not show, from its row in GDB/MI's list."""
    kind = str(row.get("type", ""))
    script = [line for line in row.get("script", []) if isinstance(line, str)]
    common: Dict[str, Any] = {
        "number": number,
        "condition": str(row.get("cond", "")),
        "ignore_count": int(row.get("ignore", 0)),
        "enabled": row.get("enabled") != "n",
        "thread": int(row.get("thread", 0)),
    }
    if kind == "dprintf":
        # GDB makes the command of the format it was given; a pending one shows what was typed.
        location = _exact(row)
        format_and_values = script[0].partition("printf ")[2] if script else ""
        spec = (
            f"{location},{format_and_values}"
            if location and format_and_values
            else str(row.get("what", ""))
        )
        if "," in spec:
            return Breakpoint(command="dprintf", spec=spec, **common)
    words = gdbtext.catch_arguments(str(row.get("what", "")))
    if words is not None:
        command = "tcatch" if row.get("disp") == "del" else "catch"
        return Breakpoint(command=command, spec=words, commands="\n".join(script), **common)
    notes.append(f"{kind or 'breakpoint'} {number} is of a kind that cannot be kept")
    return None


# -- making again ----------------------------------------------------------------------------------


def make(
    wanted: Sequence[Breakpoint],
    tids: Mapping[int, int],
    numbers: Mapping[int, int],
    complete: bool = False,
) -> List[str]:
    """Make the breakpoints the session does not have. Returns notes.

    `tids` maps saved thread ids to the present ones, `numbers` saved thread numbers (GDB's global
    ones) to present ones. `complete`: those that it has, but with neither condition nor commands,
    get what is saved: an earlier restore may have left it out. The selection may change.
    """
    notes: List[str] = []
    present, _ = read()
    saved = [_renumbered(each, numbers) for each in wanted]
    thread, level = gdb.selected_thread(), selected_level()
    with ExitStack() as stack:
        stack.enter_context(setting("breakpoint pending", "on"))
        stack.enter_context(setting("confirm", "off"))
        for each in missing_breakpoints(saved, present):
            _make_breakpoint(each, tids, notes)
            thread.switch()
            select_level(level)
        if complete:
            _complete(saved, notes)
    return notes


def _complete(saved: Sequence[Breakpoint], notes: List[str]) -> None:
    present, _ = read()
    bare = {each.number for each in present if not each.condition and not each.commands}
    numbers = present_numbers(saved)
    for each in saved:
        number = numbers.get(each.number)
        if number in bare and not runs_shell(each.condition):
            _give_words(each, number, f"breakpoint {each.number} ({each.spec})", notes)


def present_numbers(wanted: Sequence[Breakpoint]) -> Dict[int, int]:
    """The numbers that saved breakpoints have in this session, by their saved numbers."""
    left, _ = read()
    found: Dict[int, int] = {}
    for each in wanted:
        twin = next((other for other in left if other.same_place(each)), None)
        if twin is not None:
            found[each.number] = twin.number
            left = tuple(other for other in left if other is not twin)
    return found


def _renumbered(point: Breakpoint, numbers: Mapping[int, int]) -> Breakpoint:
    if not point.thread:
        return point
    return point._replace(thread=numbers.get(point.thread, point.thread))


def _make_breakpoint(point: Breakpoint, tids: Mapping[int, int], notes: List[str]) -> None:
    text = f"{point.command} {point.spec}"
    what = f"{'watchpoint' if point.is_watchpoint else 'breakpoint'} {point.number} ({text})"
    if runs_shell(point.spec) or runs_shell(point.condition):
        notes.append(f"{what} runs a shell: it was not made again")
        return
    before = _last_number()
    if point.thread:
        text += f" thread {_thread_word(point.thread)}"
    if point.task:
        text += f" task {point.task}"
    if point.is_watchpoint:
        with unchosen():
            problem = _make_watchpoint(point, text, tids)
    else:
        problem = problem_with(text)
    number = _last_number()
    if number == before:
        notes.append(f"{what} could not be made again: {problem or 'GDB made none'}")
        return
    _give_words(point, number, what, notes)
    if point.ignore_count:
        with language():
            attempt(
                f"ignore {number} {point.ignore_count:#x}", f"the ignore count of {what}", notes
            )
    for location in point.disabled_locations:
        problem_with(f"disable {number}.{location}")
    if not point.enabled:
        attempt(f"disable {number}", what, notes)


def _give_words(point: Breakpoint, number: int, what: str, notes: List[str]) -> None:
    """The condition and the commands of `point`, to the breakpoint of that number."""
    if point.condition:
        # -force keeps a condition that cannot be evaluated yet (12 and newer), as a pending
        # breakpoint needs.
        with unchosen():
            if problem_with(f"condition -force {number} {point.condition}") is not None:
                attempt(f"condition {number} {point.condition}", f"the condition of {what}", notes)
    if point.commands and point.command != "dprintf":
        try:
            script([f"commands {number}", point.commands.rstrip(), "end"])
        except gdb.error as error:
            notes.append(f"the commands of {what} could not be restored: {problem_of(error)}")


def _thread_word(global_number: int) -> str:
    """A thread as the `thread N` of a breakpoint wants it: by its number in its inferior."""
    for thread in gdb.selected_inferior().threads():
        if int(thread.global_num) == global_number:
            return str(thread.num)
    return str(global_number)


# How languages of GDB name what is of a type at an address, when not as C does.
_PLACES = {
    "ada": "{{{kind}}} {address:#x}",
    "modula-2": "{{{kind}}} {address:#x}",
    "pascal": "^{kind}({address:#x})^",
    "rust": "*({address:#x} as *mut {kind})",
}


def _make_watchpoint(point: Breakpoint, text: str, tids: Mapping[int, int]) -> Optional[str]:
    """Make a watchpoint where its expression means what it meant. Returns the problem, or None."""
    problem: Optional[str] = None
    before = _last_number()
    for level in range(max(point.frame, 0), -1, -1):
        if point.frame >= 0:
            # A frame that shares its caller's address (an inlined function) may have been meant:
            # try further in, too.
            if (
                not inferior.select_thread(tids.get(point.tid, point.tid))
                or not select_level(level)
            ):
                return "its frame is not there"
        problem = problem_with(text)
        if _last_number() != before:
            break
    made = next((each for each in gdb.breakpoints() if each.number == _last_number()), None)
    if made is None or _last_number() == before or not point.address or point.frame >= 0:
        return problem
    places = locations(made)
    if len(places) == 1 and int(places[0].address) != point.address and point.spec.startswith("-l"):
        # `watch -location p->x` stays at the address it had when it was made, and p may have moved
        # on since.
        try:
            kind = gdb.parse_and_eval(point.spec.split(None, 1)[1]).type
            made.delete()
            place = _PLACES.get(present_language(), "*({kind} *) {address:#x}")
            return problem_with(
                f"{point.command} -location {place.format(kind=kind, address=point.address)}"
            )
        except gdb.error as error:
            return problem_of(error)
    return problem


def refresh_watchpoints() -> None:
    """Disable and enable each watchpoint that is enabled, so that GDB reads its value again.

    GDB reports a watchpoint when the value differs from the one it has cached; with a value from
    before the restore it would miss the first change, or report one that did not happen.
    """
    for point in gdb.breakpoints():
        if _watch_command(point) and point.is_valid() and point.enabled:
            try:
                with unnoticed():
                    point.enabled = False
                    point.enabled = True
            except (gdb.error, RuntimeError):
                continue  # it cannot be evaluated here; GDB says so when it is


def _last_number() -> int:
    last = gdb.convenience_variable("bpnum")
    return int(last) if last is not None else 0
