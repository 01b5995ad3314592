"""GDB/MI's records, one a line: which of those that GDB writes in the middle of a restore a front
end may see, and records of our own.

Why not all. GDB attaches to threads that are parked, and is shown stops of them (see
`session/stoppc`): each becomes a `*stopped`, the first `*running` ends the command that is still
being done (`^running`), and every prompt says that the next one may come. A front end would show
those places to its user, or an exception: SIGSTOP.

A thread group (GDB's word for an inferior) must not be the last one that ends: front ends close the
session then (VS Code's cppdbg does). Nor can its end be left out, since that is how a front end
learns the new process id. So the group's end and new beginning stand between those of another one.
"""

from __future__ import annotations

import re
from typing import Any, List, Mapping, Sequence

_PROMPT = b"(gdb)"


def is_notice_of_change(line: bytes) -> bool:
    """Whether a record says that a setting or a breakpoint has changed."""
    return line.startswith((b"=cmd-param-changed,", b"=breakpoint-modified,"))


def is_of_breakpoint(line: bytes) -> bool:
    """Whether a record says that a breakpoint has changed."""
    return line.startswith(b"=breakpoint-modified,")


def modified(answer: str) -> bytes:
    """`=breakpoint-modified` for what `-break-info` answers of one
    breakpoint; b"" if it knows none.
    """
    rows = re.search(r"body=\[(.*)\]\}", answer)
    told = f"=breakpoint-modified,{rows[1]}\n" if rows and rows[1] else ""
    return told.encode("utf-8", "surrogateescape")


def outlasts_restore(line: bytes) -> bool:
    """Whether a record that GDB wrote while it took a program over is still true afterwards: of
    threads, libraries and breakpoints; a warning; what is no record at all.
    """
    return line.strip() != _PROMPT and re.match(rb"\d*[*^+~]", line) is None


def aside(lines: Sequence[bytes]) -> List[bytes]:
    """What is left to tell of work in inferiors of our own: those that are still there, and what
    they have changed.
    """
    added, gone = (
        set(re.findall(rb'^=thread-group-%b,id="(i\d+)"' % what, b"".join(lines), re.MULTILINE))
        for what in (b"added", b"removed")
    )
    return [
        each
        for each in lines
        if outlasts_restore(each)
        and not each.startswith(b"=thread-selected,")
        and not (added <= gone and is_notice_of_change(each))
        and not gone.intersection(re.findall(rb'(?:[,-]id|thread-group)="(i\d+)"', each))
    ]


def replacement(lines: Sequence[bytes], group: int, helper: int) -> List[bytes]:
    """The records of a program that took another one's place. While the old one is gone and the new
    one not there yet, its helper (a process id) holds the place, as the thread group `group`.
    """
    return [
        b'=thread-group-added,id="i%d"\n' % group,
        b'=thread-group-started,id="i%d",pid="%d"\n' % (group, helper),
        *lines,
        b'=thread-group-exited,id="i%d"\n' % group,
        b'=thread-group-removed,id="i%d"\n' % group,
    ]


def stopped(reason: Mapping[str, Any], described: str, thread: int) -> bytes:
    """`*stopped` for every thread, where GDB shows `thread`. `described` is what `-thread-info`
    says of it.
    """
    parts = [_result(key, value) for key, value in reason.items()]
    frame = _tuple_after(described, "frame=")
    if frame:
        # Its number is left out: what stopped is the innermost one.
        parts.append("frame={" + re.sub(r'^\{level="\d+",', "", frame).lstrip("{"))
    parts += [_result("thread-id", thread), _result("stopped-threads", "all")]
    # What follows the frame; there may be such words in it.
    core = re.search(r'core="(\d+)"', described.rpartition(frame)[2] if frame else described)
    if core:
        parts.append(_result("core", core[1]))
    return ("*stopped," + ",".join(parts) + "\n").encode("utf-8", "surrogateescape")


def _tuple_after(text: str, key: str) -> str:
    """The tuple `{...}` after the first `key`, or ""."""
    start = text.find(key + "{")
    if start < 0:
        return ""
    start += len(key)
    depth = 0
    for match in re.compile(r'"(?:[^"\\]|\\.)*"|[{}]').finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return text[start : match.end()]
    return ""


def _result(key: str, value: Any) -> str:
    return f"{key}={_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(_result(key, each) for key, each in value.items()) + "}"
    return quoted(str(value))


_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}


def quoted(text: str) -> str:
    """A C string, as GDB writes it."""
    return (
        '"' + "".join(_ESCAPES.get(c) or (c if c >= " " else f"\\{ord(c):03o}") for c in text) + '"'
    )


# -- results of commands ---------------------------------------------------------------------------


def result(value: Any) -> Any:
    """A value that JSON has a form for, as GDB turns it into a result: tables, lists and texts.
    What is null is left out.
    """
    if isinstance(value, Mapping):
        return {
            key.replace("_", "-"): result(each) for key, each in value.items() if each is not None
        }
    if isinstance(value, (list, tuple)):
        return [result(each) for each in value if each is not None]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    return str(value)
