"""`ckpt timeline`"""

from __future__ import annotations

from typing import Any, Dict

from ..text.options import Parsed, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt timeline` takes."""

    json: bool = flag("json", "Print a JSON object with all that is notable.")


def run(options: Options) -> None:
    """Draw the recording."""
    from .. import session
    from ..session import recordings
    from ..text import report, timeline

    position, marks = recordings.timeline()
    if options.json:
        session.show(report.as_json(timeline.table(position, marks)))
    else:
        session.show(
            *timeline.picture(position, marks, session.width()),
            "",
            *timeline.nearby(position, marks),
        )


def answer(options: Options) -> Dict[str, Any]:
    """Where the recording is, and what is notable in it."""
    from ..session import recordings
    from ..text import timeline

    return timeline.table(*recordings.timeline())


VERB = Verb(
    name="timeline",
    summary="Draw the recording that is being debugged, and where one is in it.",
    details="""\
The picture is as wide as the terminal, from the begin to the end of the recording; an event that is
notable has a sign there. Those before and behind the position are listed below.""",
    options=Options,
    run=run,
    answer=answer,
    changes=False,
)
