"""`ckpt note`"""

from __future__ import annotations

from typing import Tuple

from ..text.options import Parsed, Words, argument, arguments
from ._base import Verb


class Options(Parsed):
    """What `ckpt note` takes."""

    name: str = argument(
        "NAME", "The snapshot's name, or a file.", Words.SNAPSHOT_OR_FILE, required=True
    )
    text: Tuple[str, ...] = arguments(
        "TEXT", "The remark. '' for none; without it the present one is shown.", required=False
    )



def run(options: Options) -> None:
    """Keep a remark with a snapshot, or show it."""
    from .. import session
    from ..store import labels
    from ..text import report

    store = session.open_store()
    if options.text:
        name = labels.note(store, options.name, " ".join(options.text))
        session.show(f'Noted in "{name}".')
        return
    name, path = store.resolve(options.name)
    message = session.describe(path).message
    session.show(report.printable(message) if message else f'"{name}" has no remark.')



VERB = Verb(
    name="note",
    summary="Keep a remark with a snapshot.",
    details="""\
It takes the place of the one that was given to "ckpt save -m", and is shown by "ckpt list" and
"ckpt info". It is kept in the snapshot's file, and so goes with it.""",
    options=Options,
    run=run,
    changes=True,
)
