"""`ckpt list`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from ..text.options import Parsed, Words, arguments, flag, value
from ._base import Verb

if TYPE_CHECKING:
    from ..store.store import Store
    from ..text.listing import Row


class Options(Parsed):
    """What `ckpt list` takes."""

    patterns: Tuple[str, ...] = arguments(
        "PATTERN",
        'Names, or patterns of names as in a shell ("jobs-*"). Default: all snapshots.',
        Words.SNAPSHOT,
        required=False,
    )
    newest: Optional[str] = value("newest", "N", "The newest N of them only.")
    program: Optional[str] = value(
        "program", "NAME", "Those of a program only: its name, its path, or a pattern."
    )
    tree: bool = flag(
        "tree", "Draw which snapshot was saved from a program restored from which one."
    )
    json: bool = flag("json", "Print a JSON array instead of a table.")


def run(options: Options) -> None:
    """List the snapshots, oldest first."""
    from .. import session
    from ..text import listing

    store = session.open_store()
    rows = _rows(options, store)
    if options.json:
        session.show(listing.as_json(rows))
    elif rows:
        session.show(*listing.table(rows, session.width()))
    else:
        session.show(listing.nothing(str(store.root), bool(options.patterns or options.program)))


def answer(options: Options) -> Dict[str, Any]:
    """The snapshots, oldest first."""
    from .. import session
    from ..text import listing

    return {"snapshots": [listing.summary(row) for row in _rows(options, session.open_store())]}


def _rows(options: Options, store: Store) -> List[Row]:
    from ..session import positions
    from ..text import listing

    entries = listing.chosen(
        store.entries(),
        options.patterns,
        program=options.program,
        newest=listing.number(options.newest) if options.newest is not None else None,
    )
    origin = positions.origin()
    return listing.rows(entries, origin.created if origin else None, tree=options.tree)


VERB = Verb(
    name="list",
    aliases=("l",),
    summary="List the snapshots in the store.",
    details="""Oldest first. The one from which the program being debugged was restored has a star.
The table is cut to the width of the terminal ("show width"); "ckpt info" shows all of a
snapshot. "show ckpt directory" tells where the store is.""",
    options=Options,
    run=run,
    answer=answer,
    changes=False,
)
