"""`ckpt print`"""

from __future__ import annotations

from typing import Optional, Tuple

from ..errors import UsageError
from ..options import Parsed, Words, argument, arguments, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt print` takes."""

    expression: Optional[str] = argument(
        "EXPR", "The expression, in quotes if it has spaces; after -- if it begins with a dash."
    )
    names: Tuple[str, ...] = arguments(
        "NAME",
        "Names of snapshots, or files. Default: all of the store.",
        Words.SNAPSHOT_OR_FILE,
        required=False,
    )
    all: bool = flag("all", "All snapshots of the store, oldest first.")
    json: bool = flag("json", "Print a JSON array.")


def run(options: Options) -> None:
    """Evaluate, and show the values as a table."""
    from .. import report, session
    from ..session import postmortem

    if options.expression is None:
        raise UsageError('EXPR is missing; try "help ckpt print"')
    if options.all and options.names:
        raise UsageError("either -all or names, not both")
    store = session.open_store()
    names = options.names or [
        str(entry.path) if entry.external else entry.name for entry in store.entries()
    ]
    answers = postmortem.evaluate(store, names, options.expression)
    if options.json:
        session.show(report.as_json([each._asdict() for each in answers]))
    elif answers:
        session.show(*report.answers(answers))
    else:
        session.show(f"No snapshots in {store.root}.")


VERB = Verb(
    name="print",
    summary="Evaluate an expression in many snapshots, without a process.",
    details="""Each snapshot is opened in turn, and the expression evaluated in the frame that was
selected when it was saved. The program being debugged, the selected thread and frame and the
breakpoints are the same afterwards.""",
    options=Options,
    run=run,
    changes=False,
)
