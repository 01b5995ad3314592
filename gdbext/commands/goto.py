"""`ckpt goto`"""

from __future__ import annotations

from ..text.options import Parsed, argument
from ._base import Verb


class Options(Parsed):
    """What `ckpt goto` takes."""

    position: str = argument(
        "POSITION",
        "begin, end, the number of an event, +N or -N events from here, or a share as 50%.",
        required=True,
        choices=("begin", "end"),
    )


def run(options: Options) -> None:
    """Go there, and show where that is."""
    from .. import session
    from ..session import moving, restoring
    from ..text import timeline

    session.show(timeline.where(moving.goto(options.position)))
    restoring.print_location()


VERB = Verb(
    name="goto",
    summary="Go to a position of the recording that is being debugged.",
    details="""\
"ckpt position" and "ckpt timeline" show what events there are. Breakpoints on the way do not
count.""",
    options=Options,
    run=run,
    changes=True,
)
