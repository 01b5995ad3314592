"""`ckpt diff`"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator, Optional, Tuple

from ..errors import UsageError
from ..text.options import Parsed, Words, argument, arguments, flag, value
from ._base import Verb

if TYPE_CHECKING:
    from ..offline.snapshot import Snapshot
    from ..store.store import Store


class Options(Parsed):
    """What `ckpt diff` takes."""

    old: str = argument(
        "OLD", "A snapshot's name, or a file.", Words.SNAPSHOT_OR_FILE, required=True
    )
    new: Optional[str] = argument(
        "NEW", "The other one. Default: the program being debugged.", Words.SNAPSHOT_OR_FILE
    )
    expressions: Tuple[str, ...] = arguments(
        "EXPR",
        "Expressions whose pointers are followed, in quotes if they have spaces.",
        Words.EXPRESSION,
        required=False,
    )
    live: bool = flag(
        "live", "Compare with the program being debugged: what follows OLD are expressions."
    )
    limit: str = value("limit", "N", "Show at most N changes of a kind (100).", default="100")
    raw: bool = flag("raw", "Compare bytes, registers and tables, without debug information.")
    json: bool = flag("json", "Print a JSON object.")


def run(options: Options) -> None:
    """Compare, and show what differs."""
    from .. import session
    from ..comparison import changes, difference
    from ..comparison.compare import diff
    from ..offline.snapshot import Snapshot
    from ..session import differing
    from ..text import report

    expressions = options.expressions
    if options.live and options.new is not None:
        expressions = (options.new, *expressions)
    if not options.limit.isdecimal() or len(options.limit) > 9:
        raise UsageError(f'-limit needs a number, not "{options.limit}"')
    if options.raw and expressions:
        raise UsageError("either -raw or expressions, not both")
    limit = int(options.limit)
    store = session.open_store()
    with Snapshot.open(options.old, store=store.root) as old:
        with _other(options, store) as new:
            if options.raw:
                found = differing.Compared(None, diff(old, new))
            else:
                found = differing.compare(store, old, new, expressions)
            if options.json:
                table = difference.table(old, new, found.other, limit)
                named = changes.table(found.changes, limit) if found.changes is not None else None
                session.show(report.as_json({"changes": named, "raw": table}))
            elif found.changes is not None:
                session.show(*changes.lines(found.changes, found.other, limit))
            else:
                if not options.raw:
                    session.show("note: there is no debug information: bytes are compared")
                session.show(*difference.lines(old, new, found.other, limit))


@contextmanager
def _other(options: Options, store: "Store") -> "Iterator[Snapshot]":
    """The other side of the comparison."""
    from ..offline.snapshot import Snapshot
    from ..session import saving

    if options.live or options.new is None:
        with saving.glimpse(store) as path, Snapshot.open(path, store=store.root) as snapshot:
            yield snapshot
        return
    with Snapshot.open(options.new, store=store.root) as snapshot:
        yield snapshot


VERB = Verb(
    name="diff",
    summary=(
        "Show what differs between two snapshots of a program, or one and the program, by name."
    ),
    details="""Global and static variables, what the expressions lead to, where the threads are, and
the locals of frames that both have; each with its old and new value, as "print" shows them.
Expressions are evaluated in the frame that was selected at the save. The program being debugged
is compared as it is now, and must be stopped where it could be saved. Without debug information
bytes are compared, as with -raw.""",
    options=Options,
    run=run,
    changes=False,
)
