"""`ckpt rewind`"""

from __future__ import annotations

from ..text.options import Parsed, Words, argument, value
from ._base import Verb


class Options(Parsed):
    """What `ckpt rewind` takes."""

    file: str = argument(
        "FILE", "A recording, made by ckpt-record.", Words.FILE, required=True
    )
    at: str = value(
        "at",
        "POSITION",
        "Where to begin: begin, end (the default: where it crashed, if it did), or the number of\n"
        "an event.",
        default="end",
    )


def run(options: Options) -> None:
    """Show a recording to GDB, and say where it is."""
    from .. import session
    from ..session import restoring, rewinding
    from ..text import timeline

    done = rewinding.rewind(options.file, timeline.check_start(options.at))
    session.show(timeline.rewound(done.name, done.position))
    restoring.print_location()


VERB = Verb(
    name="rewind",
    summary="Debug a recording, forwards and backwards.",
    details="""\
A recording is a run of a program from its begin to its end, on disk. It replaces the present
program. GDB's own commands go forwards and backwards in it: continue, next and step,
reverse-continue, reverse-next, reverse-step, reverse-finish, with breakpoints and conditions.
"ckpt goto" goes anywhere else, "ckpt last" to the last write of a variable. What is assigned
changes a copy, which is dropped when history goes on. "kill" ends it.""",
    options=Options,
    run=run,
    changes=True,
)
