"""`ckpt position`"""

from __future__ import annotations

from typing import Any, Dict

from ..text.options import Parsed, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt position` takes."""

    json: bool = flag("json", "Print a JSON object.")


def run(options: Options) -> None:
    """Say where the recording is."""
    from .. import session
    from ..session import recordings
    from ..text import report, timeline

    found = recordings.position()
    if options.json:
        session.show(report.as_json(found.table()))
    else:
        session.show(*timeline.described(found))


def answer(options: Options) -> Dict[str, Any]:
    """Where the recording is."""
    from ..session import recordings

    return recordings.position().table()


VERB = Verb(
    name="position",
    summary="Show where the recording is that is being debugged.",
    details="""\
An event is a system call, a signal, or a change of threads. What the program does between two
events is reached by GDB's own commands.""",
    options=Options,
    run=run,
    answer=answer,
    changes=False,
)
