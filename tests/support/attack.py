"""Attacks: with small numbers among the other tests, with large ones by `./test.sh attack`.

    CKPT_ATTACK_TIMES=N     N times as many of each as among the other tests (1)
    CKPT_ATTACK_SEED=N      what the random moments and mutants begin with (1): others with each
                            number
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import resource
import traceback
from collections.abc import Sequence
from pathlib import Path

from .checkpoint import Workshop

SEED = int(os.environ.get("CKPT_ATTACK_SEED", "1"))
TIMES = int(os.environ.get("CKPT_ATTACK_TIMES", "1"))
MOST_RESIDENT_KIB = 400 << 10


@dataclasses.dataclass(frozen=True)
class Ordinary:
    """A workshop of an ordinary user, as whom (`user`) root has to start everything in it."""

    workshop: Workshop
    user: int | None


def harmless(text: str) -> None:
    """No character that could drive the terminal."""
    wrong = [character for character in text if not character.isprintable() and character != "\n"]
    assert not wrong, wrong[:5]


VERBS = (["info"], ["info", "--json"], ["verify"], ["verify", "--json"], ["diff"])


def look_in_child(image: Path, verbs: Sequence[Sequence[str]] = VERBS) -> None:
    """Look at it in a child: whatever it does to us ends with that."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
            resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            _look(image, verbs)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < MOST_RESIDENT_KIB, f"{grown} KiB more of memory"
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc()[-4000:].encode("utf-8", "backslashreplace"))
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as stream:
        said = stream.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"{image}: status {status:#x}\n{said}"


def _look(image: Path, verbs: Sequence[Sequence[str]]) -> None:
    from gdbext.cli import program

    for words in verbs:
        names = [str(image)] * (2 if "diff" in words else 1)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = program.main([*words, *names])
        assert status in (program.DONE, program.DIFFERENT, program.FAILED), (words, status)
        harmless(out.getvalue())
        harmless(err.getvalue())
        assert len(err.getvalue().splitlines()) == (
            1 if status == program.FAILED else 0
        ), err.getvalue()
        if "--json" in words and status != program.FAILED:
            json.loads(out.getvalue())
    _as_data(image)


def _as_data(image: Path) -> None:
    from gdbext import Snapshot
    from gdbext.errors import CkptError
    from gdbext.offline import linkmap

    try:
        snapshot = Snapshot.open(image)
    except CkptError:
        return
    with snapshot:
        for name in (
            name for name in dir(Snapshot) if isinstance(getattr(Snapshot, name), property)
        ):
            with contextlib.suppress(CkptError):
                getattr(snapshot, name)
        linkmap.libraries(snapshot)
        for symbol in ("main", "environ"):
            with contextlib.suppress(CkptError):
                snapshot.symbol(symbol)
