"""`ckpt list`"""

from __future__ import annotations

from typing import Any, Dict

from ..options import Parsed, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt list` takes."""

    json: bool = flag("json", "Print a JSON array instead of a table.")


def run(options: Options) -> None:
    """List the snapshots, oldest first."""
    from .. import report, session

    store = session.open_store()
    entries = store.entries()
    if options.json:
        session.show(report.table_json(entries))
    elif entries:
        session.show(*report.table(entries))
    else:
        session.show(f"No snapshots in {store.root}.")


def answer(options: Options) -> Dict[str, Any]:
    """The snapshots, oldest first."""
    from .. import report, session

    return {"snapshots": report.summaries(session.open_store().entries())}


VERB = Verb(
    name="list",
    summary="List the snapshots in the store.",
    details='Oldest first. "show ckpt directory" tells where the store is.',
    options=Options,
    run=run,
    answer=answer,
    changes=False,
)
