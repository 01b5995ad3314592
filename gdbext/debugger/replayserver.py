"""The program `ckpt-replay-server`: how GDB is told to start it, and what a short talk with it says
of a recording beforehand.

GDB shows nothing of what a server has said that ended before it answered; and a recording that
cannot be shown must be known before the present program is ended. So the server is started once
without GDB, and asked for what GDB needs to be told.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from ..errors import CkptError, one_line
from ..text.timeline import Position

NAME = "ckpt-replay-server"

_PROGRAM = b"qXfer:exec-file:read::0,8000"
_POSITION = b"qRcmd," + b"json position".hex().encode()


class Examined(NamedTuple):
    """A recording that can be shown: its program's executable, and the place it begins at."""

    program: str
    position: Position


def words(server: Path, at: str, file: str) -> List[str]:
    """The command line of the server."""
    return [str(server), "--at", at, "--", file]


def target(server: Path, at: str, file: str, errors: str) -> str:
    """What follows `target remote` in GDB, for which a shell reads it. What the server says goes to
    the file `errors`.
    """
    command = " ".join(map(shlex.quote, words(server, at, file)))
    return f"| exec {command} 2>>{shlex.quote(errors)}"


def is_server(details: Optional[str]) -> bool:
    """Whether what follows `target remote` leads to the server, whoever has typed it."""
    return bool(details) and str(details).startswith("|") and NAME in str(details)


def examine(server: Path, at: str, file: str) -> Examined:
    """Ask the server. Raises CkptError with what it says of a file that cannot be shown; with
    KeyboardInterrupt it is ended.
    """
    import subprocess  # slow to import

    _check_file(file)
    with subprocess.Popen(
        words(server, at, file),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            said, problem = process.communicate(b"+" + framed(_PROGRAM) + framed(_POSITION))
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        text = problem_in(problem) or f"{NAME} ended with status {process.returncode}"
        raise CkptError(text if file in text else f"{file}: {text}")
    return _examined(said)


def _check_file(file: str) -> None:
    try:
        mode = os.stat(file).st_mode
    except OSError as error:
        raise CkptError(f"{file}: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise CkptError(f"{file}: it is no recording")


def problem_in(text: bytes) -> str:
    """What the server has said, as one line without its name."""
    line = one_line(os.fsdecode(text))
    return line[len(NAME) + 2 :] if line.startswith(f"{NAME}: ") else line


def _examined(said: bytes) -> Examined:
    found = replies(said)
    if len(found) == 2 and found[0].startswith(b"l"):
        try:
            position = Position.of(json.loads(bytes.fromhex(found[1].decode("ascii"))))
            return Examined(os.fsdecode(found[0][1:]), position)
        except (ValueError, CkptError):
            pass
    raise CkptError(f"{NAME} does not answer as it should: is it of another version?")


# -- packets of the remote protocol ----------------------------------------------------------------


def framed(content: bytes) -> bytes:
    """A packet. Nothing in `content` needs an escape."""
    return b"$" + content + b"#%02x" % (sum(content) % 256)


def replies(said: bytes) -> Tuple[bytes, ...]:
    """The contents of the packets in `said`."""
    return tuple(
        re.sub(rb"\}(.)", lambda match: bytes([match[1][0] ^ 0x20]), content, flags=re.DOTALL)
        for content in re.findall(rb"\$([^#]*)#[0-9a-f]{2}", said)
    )
