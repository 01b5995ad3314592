"""What a replay is expected to print and to end as: text that people read and review.

    # What "ckpt replay" saw of the snapshot crash (program jobs, script crash.gdb).
    # "ckpt replay -update" writes it anew. In a line, <any> stands for anything.
    transcript:
        (gdb) print total
        $1 = 7
    stdout:
        job 4 done
    stderr: nothing
    end:
        signal SIGSEGV
        in report at jobs.c:31

Four spaces stand before each line of content. `\\` begins an escape, for what cannot stand in a
line or would not be seen: `\\xHH` and `\\uHHHHHH` are characters, `\\\\` is `\\` itself, `\\n` an
empty line at the end, and a last line without a newline ends with `\\c`.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Tuple

from ..errors import ReplayError
from ..publish import new_file

SECTIONS = ("transcript", "stdout", "stderr", "end")
_INDENT = "    "
ANY = "<any>"
# Of a long difference so many lines are shown.
_SHOWN_LINES = 60


class Expectation(NamedTuple):
    """Sections of lines, as they stand in a file; `lines_at` has the number of each section's first
    line there, 0 for one that is not in a file.
    """

    transcript: Tuple[str, ...]
    stdout: Tuple[str, ...]
    stderr: Tuple[str, ...]
    end: Tuple[str, ...]
    lines_at: Tuple[int, int, int, int] = (0, 0, 0, 0)

    def section(self, name: str) -> Tuple[str, ...]:
        """The lines of a section."""
        found: Tuple[str, ...] = getattr(self, name)
        return found


class Difference(NamedTuple):
    """A section that differs: the first line in the file where it does (0: not known), and the
    lines to show.
    """

    section: str
    line: int
    shown: Tuple[str, ...]


def lines_of(text: str) -> Tuple[str, ...]:
    """Text as lines of a section."""
    if not text:
        return ()
    parts = text.split("\n")
    last = parts.pop()
    found = [_escaped(part) for part in parts]
    if last:
        found.append(_escaped(last) + "\\c")
    for index in range(len(found) - 1, -1, -1):
        if found[index]:
            break
        found[index] = "\\n"
    return tuple(found)


def _escaped(line: str) -> str:
    line = line.replace("\\", "\\\\")
    line = "".join(c if c.isprintable() or c == "\t" else _code(c) for c in line)
    # Editors and version control remove it, or mark it as an error.
    if line.endswith((" ", "\t")):
        line = line[:-1] + f"\\x{ord(line[-1]):02x}"
    return line


def _code(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):06x}"


# -- files -----------------------------------------------------------------------------------------


def read(path: Path) -> Expectation:
    """Read a recorded expectation. Raises ReplayError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ReplayError(f"{path}: not text") from None
    except OSError as error:
        raise ReplayError(f"{path}: {error.strerror}") from None
    sections: Dict[str, List[str]] = {}
    at: Dict[str, int] = {}
    current = ""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith(_INDENT) and current:
            sections[current].append(line[len(_INDENT) :])
        elif current and not line.strip():
            # It does not show whether there are spaces in an empty line. Between sections there are
            # none; within one an empty line is content.
            sections[current].append("")
        elif line.startswith("#") or not line.strip():
            continue
        else:
            match = re.fullmatch(r"(\w+):( nothing)?\s*", line)
            name = match.group(1) if match else ""
            if name not in SECTIONS or name in sections:
                raise ReplayError(f"{path}: line {number} is not understood: {line[:60]}")
            _drop_blank_end(sections.get(current, []))
            current, sections[name], at[name] = name, [], number + 1
    _drop_blank_end(sections.get(current, []))
    missing = [name for name in SECTIONS if name not in sections]
    if missing:
        raise ReplayError(f'{path}: there is no "{missing[0]}:" in it')
    return Expectation(
        tuple(sections["transcript"]),
        tuple(sections["stdout"]),
        tuple(sections["stderr"]),
        tuple(sections["end"]),
        (at["transcript"], at["stdout"], at["stderr"], at["end"]),
    )


def _drop_blank_end(lines: List[str]) -> None:
    while lines and not lines[-1]:
        lines.pop()


def write(path: Path, seen: Expectation, about: str) -> None:
    """Write it, in place of what there was. Raises CkptError."""
    lines = [
        f"# What ckpt replay saw of {about}.",
        f"# With -update it writes this anew. In a line, {ANY} stands for anything.",
    ]
    for name in SECTIONS:
        content = seen.section(name)
        lines.append(f"{name}:" if content else f"{name}: nothing")
        lines += [(_INDENT + line).rstrip() for line in content]
    with new_file(path, force=True, mode=0o644) as fd:
        with open(fd, "w", encoding="utf-8", closefd=False) as stream:
            stream.write("\n".join(lines) + "\n")


# -- comparing -------------------------------------------------------------------------------------


def compare(recorded: Expectation, seen: Expectation) -> List[Difference]:
    """Where they differ, section by section."""
    found = []
    for index, name in enumerate(SECTIONS):
        old, new = recorded.section(name), seen.section(name)
        new = _with_patterns(old, new)
        if old != new:
            found.append(_difference(name, recorded.lines_at[index], old, new))
    return found


def _with_patterns(old: Sequence[str], new: Sequence[str]) -> Tuple[str, ...]:
    """`new` with the lines that fit a line of `old` with <any> in it replaced by that."""
    patterns = {
        line: re.compile(".*".join(re.escape(part) for part in line.split(ANY)))
        for line in old
        if ANY in line
    }
    if not patterns:
        return tuple(new)
    plain = set(old) - set(patterns)
    found = []
    for line in new:
        fitting = (each for each, pattern in patterns.items() if pattern.fullmatch(line))
        found.append(line if line in plain else next(fitting, line))
    return tuple(found)


def _difference(name: str, at: int, old: Sequence[str], new: Sequence[str]) -> Difference:
    shown: List[str] = []
    first = 0
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(3):
        if shown:
            shown.append("  ...")
        for tag, old_start, old_end, new_start, new_end in group:
            if tag == "equal":
                shown += ["  " + line for line in old[old_start:old_end]]
                continue
            if not first and at:
                first = at + old_start
            shown += ["- " + line for line in old[old_start:old_end]]
            shown += ["+ " + line for line in new[new_start:new_end]]
    if len(shown) > _SHOWN_LINES:
        left = len(shown) - _SHOWN_LINES
        shown = [*shown[:_SHOWN_LINES], f"  ... {left} lines more"]
    return Difference(name, first, tuple(shown))
