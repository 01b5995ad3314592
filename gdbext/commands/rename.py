"""`ckpt rename`"""

from __future__ import annotations

from ..text.options import Parsed, Words, argument
from ._base import Verb


class Options(Parsed):
    """What `ckpt rename` takes."""

    old: str = argument("OLD", "The snapshot's name.", Words.SNAPSHOT, required=True)
    new: str = argument("NEW", "Another one, unique in the store.", required=True)



def run(options: Options) -> None:
    """Rename a snapshot."""
    from .. import session
    from ..session import life, marker
    from ..store import labels
    from ..text import report

    done = labels.rename(session.open_store(), options.old, options.new)
    life.renamed(done.before, done.path, done.new)
    marker.update()
    session.show(f'Renamed "{report.printable(done.old)}" to "{done.new}".')



VERB = Verb(
    name="rename",
    summary="Give a snapshot another name.",
    details="""\
Nothing else of it changes. What was saved from a program that was restored from it still comes
from it. A snapshot of "ckpt auto" that was renamed is not of the trail any more, and stays.""",
    options=Options,
    run=run,
    changes=True,
)
