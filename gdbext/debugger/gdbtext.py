"""Parsers of what GDB prints, for what its Python API does not offer. Text in, values out; none of
them raises for odd text: what is not understood is left out, because the next GDB may word it
differently.

All formats as printed by GDB 12 to 13.1.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

_HEX = r"0x[0-9a-fA-F]+"


def of_raw(data: bytes) -> str:
    """Bytes as a text that can be turned back into them, as Python does with file names: what is no
    UTF-8 becomes lone surrogates.
    """
    return data.decode("utf-8", "surrogateescape")


def raw(text: str) -> bytes:
    """The bytes of such a text."""
    return text.encode("utf-8", "surrogateescape")


def is_odd(text: str) -> bool:
    """Whether there are bytes in the text that are no UTF-8."""
    return any("\ud800" <= character <= "\udfff" for character in text)


class SignalHandling(NamedTuple):
    """A row of `info signals`: whether GDB stops, prints, and passes the signal on."""

    name: str
    stop: bool
    print: bool
    passed: bool


def signals(text: str) -> Dict[str, SignalHandling]:
    """`info signals`: the rows by signal name."""
    found = {}
    for match in re.finditer(
        r"^(SIG\w+|EXC_\w+)\s+(Yes|No)\s+(Yes|No)\s+(Yes|No)\s", text, re.MULTILINE
    ):
        found[match[1]] = SignalHandling(
            match[1], match[2] == "Yes", match[3] == "Yes", match[4] == "Yes"
        )
    return found


def terminal(text: str) -> Optional[Dict[str, Any]]:
    """`info terminal`: {"iflag","oflag","cflag","lflag": int, "cc": [int]} of the inferior, or None
    without a terminal.
    """
    modes: Dict[str, Any] = {}
    for name in ("iflag", "oflag", "cflag", "lflag"):
        match = re.search(rf"\bc_{name} = (0x[0-9a-fA-F]+|\d+)", text)
        if match is None:
            return None
        modes[name] = int(match[1], 0)
    match = re.search(rf"^c_cc:((?: {_HEX})+)", text, re.MULTILINE)
    if match is None:
        return None
    modes["cc"] = [int(word, 16) for word in match[1].split()]
    return modes


class Display(NamedTuple):
    """A row of `info display`: an expression shown at each stop; `format` is its "/x" part or "".
    """

    number: int
    enabled: bool
    format: str
    expression: str


def displays(text: str) -> Tuple[Display, ...]:
    """`info display`, in its order."""
    found = []
    for line in text.split("\n"):
        match = re.match(r"(\d+):\s+([yn])\s\s(?:(/\S+) )?(.*)$", line)
        if match:
            expression = match[4]
            note = "(cannot be evaluated in the current context)"
            if expression.endswith(note):
                expression = expression[: -len(note)]
            number, enabled = int(match[1]), match[2] == "y"
            found.append(Display(number, enabled, match[3] or "", expression.strip()))
    return tuple(found)


def environment(text: str, known: Iterable[Tuple[str, str]]) -> Dict[str, str]:
    """`show environment`.

    `known` are variables that may be in it, as GDB's own environment: they tell which lines
    continue a value. A value of more than one line that is not among them keeps its first.
    """
    found = {}
    names = set()
    # Its first line as the beginning of a line: the name may be the end of another's value.
    text = "\n" + text
    for name, value in known:
        names.add(name)
        whole = f"\n{name}={value}\n"
        if "\n" in value and whole in text:
            found[name] = value
            text = text.replace(whole, "\n", 1)
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        if equals and (name in names or re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)):
            found[name] = value
    return found


def substitutions(text: str) -> Tuple[Tuple[str, str], ...]:
    """`show substitute-path`: pairs of (from, to)."""
    return tuple(re.findall(r"^  `(.*)' -> `(.*)'\.$", text, re.MULTILINE))


def quoted_value(text: str) -> str:
    """`show args`, `show cwd`: the text in quotation marks (which may hold some itself), "" when
    there is none.

    gdb.parameter() gives "" for these, whatever they are set to.
    """
    match = re.search(r' is "(.*)"\.$', text, re.DOTALL | re.MULTILINE)
    return match[1] if match else ""


def language(text: str) -> str:
    """`show language`: the name of the language that applies; "" when it is not understood."""
    match = re.search(r'language is "(?:[^";]*; currently )?([^"]+)"', text)
    return match[1] if match else ""


class Section(NamedTuple):
    """A loaded section of an object file."""

    name: str
    address: int


def sections(text: str) -> Dict[str, Tuple[Section, ...]]:
    """`maint info sections -all-objects`: the allocated sections of each object file, by the file's
    name.
    """
    found: Dict[str, List[Section]] = {}
    current: Optional[List[Section]] = None
    for line in text.split("\n"):
        match = re.match(r"(?:Exec|Object|Core) file: `(.*)', file type", line)
        if match:
            current = found.setdefault(match[1], [])
            continue
        match = re.match(rf" \[\d+\]\s+({_HEX})->{_HEX} at {_HEX}: (\S+)(.*)$", line)
        if match and current is not None and " ALLOC" in match[3]:
            current.append(Section(match[2], int(match[1], 16)))
    return {name: tuple(each) for name, each in found.items()}


class SharedLibrary(NamedTuple):
    """A row of `info sharedlibrary`; `start` and `end` bound its code and are None while its file
    is not found.
    """

    name: str
    start: Optional[int]
    end: Optional[int]
    found: bool


def shared_libraries(text: str) -> Tuple[SharedLibrary, ...]:
    """`info sharedlibrary`."""
    found = []
    for line in text.split("\n"):
        match = re.match(rf"(?:({_HEX})\s+({_HEX})|\s+)\s+(Yes(?: \(\*\))?|No)\s+(\S.*)$", line)
        if match:
            bounds = (int(match[1], 16), int(match[2], 16)) if match[1] else (None, None)
            found.append(SharedLibrary(match[4], bounds[0], bounds[1], match[3] != "No"))
    return tuple(found)


def watchpoint_frames(text: str) -> Dict[int, int]:
    """`maint info breakpoints`: for each watchpoint on locals, the address of the frame it returns
    to.

    Such a watchpoint comes with an internal breakpoint in the caller, listed just before it, that
    stops only in the caller's frame: the frame whose address `info frame` gives as "Stack frame
    at".
    """
    found = {}
    pending: Optional[int] = None
    in_scope = False
    for line in text.split("\n"):
        match = re.match(r"(-?\d+)\s+(\w[\w ]*?)\s+(?:keep|del|dis|dstp)\s+[yn]", line)
        if match:
            in_scope = match[2] == "watchpoint scope"
            if in_scope:
                pending = None
            elif int(match[1]) > 0:
                if pending is not None and "watchpoint" in match[2]:
                    found[int(match[1])] = pending
                pending = None
            continue
        match = re.match(rf"\s+stop only in stack frame at ({_HEX})", line)
        if match and in_scope:
            pending = int(match[1], 16)
    return found


def frame_address(text: str) -> Optional[int]:
    """`info frame`: the frame's address."""
    match = re.search(rf"[Ff]rame at ({_HEX})", text)
    return int(match[1], 16) if match else None


def machine_interface(command_line: Sequence[str]) -> str:
    """The version of GDB/MI that a GDB started with this command line talks on its standard output,
    as it was written there ("mi3"), or "".

    Nothing in GDB's Python API tells. Front ends that ask for it with `new-ui` have a channel of
    their own for it.
    """
    words = list(command_line[1:])
    for index, word in enumerate(words):
        if word.lstrip("-") == "args":
            break
        match = re.fullmatch(r"--?(i[a-z]*)(?:=(.*))?", word)
        if match and "interpreter".startswith(match[1]):
            value = match[2] if match[2] is not None else " ".join(words[index + 1 : index + 2])
            return value if value.startswith("mi") else ""
    return ""


# -- GDB/MI ----------------------------------------------------------------------------------------


_BREAKPOINT_ROW = re.compile(
    r"^(\d+)\s+(\S.*?)\s+(keep|del|dis)\s+([yn])\s*(0x[0-9a-f]+|<\S+>)?\s*(.*)$"
)
_LOCATION_ROW = re.compile(r"^\d+\.\d+\s.*? in .* at (\S.*:\d+)(?: inf \d+)?$")


def listed_breakpoints(text: str) -> Dict[int, Dict[str, Any]]:
    """The rows of `info breakpoints` by number: type, disp, enabled, what, address, and where there
    are any cond, ignore, thread, script (a list of lines), regexp, location.

    Not GDB/MI's list, although that has more: running an MI command from the command line makes
    GDB 13.1 keep the output stream of that moment, and crash when it is gone.
    """
    rows: Dict[int, Dict[str, Any]] = {}
    row: Dict[str, Any] = {}
    for line in text.split("\n"):
        head = _BREAKPOINT_ROW.match(line)
        if head is not None:
            number, kind, disp, enabled, address, what = head.groups()
            row = {
                "type": kind,
                "disp": disp,
                "enabled": enabled,
                "what": what.strip(),
                "address": address or "",
            }
            place = re.search(r"(?:^| )at (\S.*:\d+)(?: inf \d+)?$", row["what"])
            if place is not None:
                row["location"] = place[1]
            rows[int(number)] = row
        elif (place := _LOCATION_ROW.match(line)) is not None:
            row.setdefault("location", place[1])
        elif line.startswith("\tstop only if "):
            row["cond"] = re.sub(r" \((?:host|target) evals\)$", "", line[len("\tstop only if ") :])
        elif (match := re.match(r"\tignore next (\d+) hits", line)) is not None:
            row["ignore"] = int(match[1])
        elif (match := re.match(r"\tstop only in thread (\d+)", line)) is not None:
            row["thread"] = int(match[1])
        elif line.startswith("\tmatching: "):
            row["regexp"] = line[len("\tmatching: ") :]
        elif line.startswith("        "):
            row.setdefault("script", []).append(line[8:])
    return rows


def pending_condition(location: str, what: str) -> Tuple[str, str]:
    """Where a pending breakpoint is to be, and its condition: GDB reads what was typed behind the
    location, and makes a condition of it, when the location is there. `what` is the last column in
    `info breakpoints`.
    """
    rest = what[len(location) :] if what.startswith(location) else ""
    match = re.fullmatch(r"\s+if\b\s*(.*)", rest)
    return (location, match[1]) if match else (what, "")


def catch_arguments(what: str) -> Optional[str]:
    """The words after `catch` that make a catchpoint again, from its last column in `info
    breakpoints`; None: unknown.
    """
    quoted = re.fullmatch(r'(syscall|signal)s? "(.*)"', what)
    if quoted is not None:
        kind, names = quoted[1], quoted[2]
        if names == "<any signal>":
            return "signal all"
        return kind if names.startswith("<") else " ".join([kind, *re.split(r"[, ]+", names)])
    match = re.fullmatch(r"(load|unload) of library(?: matching (.*))?", what)
    if match is not None:
        return " ".join(word for word in match.groups() if word)
    match = re.fullmatch(r"exception (throw|rethrow|catch)", what)
    if match is not None:
        return match[1]
    # "fork, process 123" once it was hit
    match = re.match(r"(fork|vfork|exec)\b", what)
    return match[1] if match is not None else None
