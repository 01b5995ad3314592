"""`ckpt threads`"""

from __future__ import annotations

from ..text.options import Parsed, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt threads` takes."""

    json: bool = flag("json", "Print a JSON array instead of a table.")


def run(options: Options) -> None:
    """Show the ids of the program's threads."""
    from .. import session
    from ..session import threadids
    from ..text import report

    rows = threadids.rows()
    session.show(*(report.threads_json(rows) if options.json else report.threads(rows)))


VERB = Verb(
    name="threads",
    summary="Show the threads with the ids they had at the save and have now.",
    details="""\
Now and Then are GDB's numbers, now and in the session that saved. "Saved id" is the id that the
program itself is shown (gettid and the like), "Kernel id" the one that /proc, ps and kill(1) know.
They differ after a restore with new ids.""",
    options=Options,
    run=run,
    changes=False,
)
