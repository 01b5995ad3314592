"""What the shells ask for to complete the command line of the program `ckpt`.

    --complete INDEX WORD...    what could stand for the word with that index (1 is the first behind
                                `ckpt`), one candidate a line
    --complete-tcsh             the same for the end of the line in $COMMAND_LINE

Nothing where a file may stand: shells know those, except tcsh, which is told them, too.
"""

from __future__ import annotations

import argparse
import glob
import os
from pathlib import Path
from typing import Iterable, NamedTuple, Optional, Sequence, Tuple

from ..errors import CkptError
from ..text.options import scan
from .program import parser

# What stands at a place, by the place's metavar.
_NAMES = {"NAME", "OLD", "NEW", "PATTERN"}
_NOT_FILES = {"TEXT", "PID", "N", "BYTES", "SECONDS", "AGE", "MESSAGE", "LOCATION"}


def main(words: Sequence[str]) -> None:
    """Print candidates. What is wrong has none."""
    try:
        if words[0] == "--complete-tcsh":
            before, last, _ = scan(os.environ.get("COMMAND_LINE", ""))
            token = last.text if last is not None else ""
            found = complete([word.text for word in before][1:], token)
            print(*found.candidates, *(_files(token) if found.files else ()), sep="\n")
            return
        index = int(words[1])
        before_it, token = words[2 : index + 1], words[index + 1] if index + 1 < len(words) else ""
        print(*candidates(before_it, token), sep="\n")
    except (ValueError, IndexError, CkptError):
        pass


class Candidates(NamedTuple):
    """What could stand at a place; `files`: a file as well."""

    candidates: Tuple[str, ...]
    files: bool


def candidates(before: Sequence[str], token: str) -> Tuple[str, ...]:
    """What could stand for `token` behind the words `before` (without the program's name)."""
    return complete(before, token).candidates


def complete(before: Sequence[str], token: str) -> Candidates:
    """The same, with whether a file could."""
    whole = parser()
    verbs = next(a for a in whole._actions if isinstance(a, argparse._SubParsersAction)).choices
    if not before:
        options = [each for action in whole._actions for each in action.option_strings]
        return _starting(token, [*verbs, *options] if token.startswith("-") else verbs)
    verb = verbs.get(before[0])
    if verb is None:
        return Candidates((), False)
    options_of = {each: action for action in verb._actions for each in action.option_strings}
    places = [action for action in verb._actions if not action.option_strings]
    pending: Optional[argparse.Action] = None
    given = 0
    store: Optional[str] = None
    for word in before[1:]:
        if pending is not None:
            store = word if pending.dest == "store" else store
            pending = None
        elif word in options_of and given < len(places) + 1:
            pending = options_of[word] if options_of[word].nargs is None else None
        else:
            given += 1
    if pending is not None:
        return Candidates((), pending.metavar not in _NOT_FILES)
    if token.startswith("-"):
        return _starting(token, options_of)
    place = places[min(given, len(places) - 1)] if places else None
    if place is None or (given >= len(places) and place.nargs not in ("*", "+")):
        return Candidates((), False)
    if place.choices:
        return _starting(token, [str(each) for each in place.choices])
    if place.metavar in _NAMES and before[0] not in ("save",):
        from ..offline.snapshot import open_store

        names = open_store(Path(store).absolute() if store else None).names()
        return _starting(token, names, files="/" in token)
    if place.metavar == "PID":
        return _starting(token, [entry for entry in os.listdir("/proc") if entry.isdigit()])
    return Candidates((), place.metavar not in _NOT_FILES)


def _starting(token: str, words: Iterable[str], files: bool = False) -> Candidates:
    return Candidates(tuple(sorted(word for word in words if word.startswith(token))), files)


def _files(token: str) -> Sequence[str]:
    # tcsh takes a candidate as it is, and a blank for the end of it.
    found = sorted(glob.glob(glob.escape(token) + "*"))
    return [path + "/" if os.path.isdir(path) else path for path in found if " " not in path]
