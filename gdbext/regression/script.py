"""A script of GDB commands as its commands, each with the lines that belong to it.

GDB could source it as a whole; but it gives a script up at the first error, and one error is not
the script's (see `Server._recover`).
"""

from __future__ import annotations

import re
from typing import Iterator, List

# These go on up to a line `end`, whatever stands behind them.
_BLOCKS = re.compile(
    r"(define|document|if|while|while-stepping|stepping|ws|actions|comm(?:a(?:n(?:ds?)?)?)?)"
    r"(?![\w-])"
)
# And these when nothing does.
_FOREIGN = re.compile(r"(python|py|guile|gu|compile(?:\s+(?:code|file|print))?|document\s+\S+)\s*")


def commands(text: str) -> Iterator[str]:
    """The commands in `text`, without comments; a block is one command of several lines. A block
    without its end is left for GDB to complain about.
    """
    lines = _joined(text)
    at = 0
    while at < len(lines):
        first = lines[at].strip()
        at += 1
        if not first or first.startswith("#"):
            continue
        if not _opens(first):
            yield first
            continue
        block = [first]
        depth = 1
        foreign = bool(_FOREIGN.fullmatch(first))
        while at < len(lines) and depth:
            line = lines[at]
            at += 1
            block.append(line)
            word = line.strip()
            if word == "end":
                depth -= 1
                foreign = False
            elif not foreign and _opens(word):
                depth += 1
                foreign = bool(_FOREIGN.fullmatch(word))
        yield "\n".join(block)


def _opens(line: str) -> bool:
    return bool(_BLOCKS.match(line) or _FOREIGN.fullmatch(line))


def _joined(text: str) -> List[str]:
    """Lines, those that end with a backslash joined with the next."""
    found: List[str] = []
    pending = ""
    for line in text.splitlines():
        if line.endswith("\\"):
            pending += line[:-1]
        else:
            found.append(pending + line)
            pending = ""
    return [*found, pending] if pending else found


def shown(command: str) -> str:
    """A command as GDB shows one that is typed."""
    first, *more = command.split("\n")
    return "\n".join([f"(gdb) {first}", *(f">{line}" for line in more)])
