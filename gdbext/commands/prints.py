"""`ckpt print`"""

from __future__ import annotations

from typing import Tuple

from ..errors import StoreError, UsageError
from ..text.options import Parsed, Words, argument, arguments, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt print` takes."""

    expression: str = argument(
        "EXPR",
        "The expression, in quotes if it has spaces; after -- if it begins with a dash.",
        Words.EXPRESSION,
        required=True,
    )
    names: Tuple[str, ...] = arguments(
        "NAME",
        'Names of snapshots, patterns ("jobs-*"), or files. Default: all of the store.',
        Words.SNAPSHOT_OR_FILE,
        required=False,
    )
    all: bool = flag("all", "All snapshots of the store, oldest first.")
    json: bool = flag("json", "Print a JSON array.")


def run(options: Options) -> None:
    """Evaluate, and show the values as a table."""
    from .. import session
    from ..session import postmortem
    from ..text import report

    if options.all and options.names:
        raise UsageError("either -all or names, not both")
    store = session.open_store()
    try:
        names = store.targets(options.names)
    except StoreError as error:
        # Most likely: ckpt print total - 1
        raise UsageError(f"{error} (an expression with spaces is quoted)") from None
    if not options.names:
        names = [entry.target for entry in store.entries()]
    answers = postmortem.evaluate(store, names, options.expression)
    if options.json:
        session.show(report.as_json([each._asdict() for each in answers]))
    elif answers:
        session.show(*report.answers(answers))
    else:
        session.show(f"No snapshots in {store.root}.")


VERB = Verb(
    name="print",
    aliases=("p",),
    summary="Evaluate an expression in many snapshots, without a process.",
    details="""Each snapshot is opened in turn, and the expression evaluated in the frame that was
selected when it was saved. The program being debugged, the selected thread and frame and the
breakpoints are the same afterwards.""",
    options=Options,
    run=run,
    changes=False,
)
