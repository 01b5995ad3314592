"""`ckpt last`"""

from __future__ import annotations

from ..text.options import Parsed, Words, argument
from ._base import Verb


class Options(Parsed):
    """What `ckpt last` takes."""

    expression: str = argument(
        "EXPR",
        "Something that is in memory, in quotes if it has spaces; after -- if it begins with a\n"
        "dash.",
        Words.EXPRESSION,
        required=True,
    )


def run(options: Options) -> None:
    """Go back to the last write, and show it."""
    from .. import session
    from ..session import moving, restoring
    from ..text import timeline

    done = moving.last(options.expression)
    session.show(*timeline.last_write(options.expression, done.position, done.old, done.new))
    restoring.print_location()


VERB = Verb(
    name="last",
    summary="Go back to the last write that changed a variable, in a recording.",
    details="""\
The program is then right before the instruction, or the system call, that gives EXPR the value it
has now; "stepi" does it again. Writes of the same value do not count. Repeated, it goes from write
to write. If EXPR has not been written before, the program stays where it is.""",
    options=Options,
    run=run,
    changes=False,
)
