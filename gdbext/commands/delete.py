"""`ckpt delete`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from ..errors import CkptError, UsageError
from ..text.options import Parsed, Words, arguments, flag, value
from ._base import Verb

if TYPE_CHECKING:
    from ..store.store import Store


class Options(Parsed):
    """What `ckpt delete` takes."""

    names: Tuple[str, ...] = arguments(
        "PATTERN",
        'The names of the snapshots to delete, or patterns as in a shell ("jobs-*").',
        Words.SNAPSHOT,
        required=False,
    )
    older: Optional[str] = value(
        "older", "AGE", "Those that were saved more than AGE ago (30m, 12h, 7d, 4w)."
    )
    all: bool = flag("all", "All snapshots of the store.")


def run(options: Options) -> None:
    """Delete snapshots, and the kept files that are no longer needed."""
    from .. import session
    from ..session import asking
    from ..text import report

    store = session.open_store()
    names = _names(options, store)
    if not names:
        session.show("No snapshots to delete.")
        return
    # As with breakpoints: what was named is meant.
    if not set(names) <= set(options.names):
        if not asking.confirmed(f"Delete {report.named(names)}?"):
            raise CkptError("not confirmed: nothing was deleted")
    session.show(*report.deleted(store.delete(names)))


def answer(options: Options) -> Dict[str, Any]:
    """Delete snapshots; what was deleted."""
    from .. import session

    store = session.open_store()
    return store.delete(_names(options, store))._asdict()


def _names(options: Options, store: Store) -> Tuple[str, ...]:
    from ..text import listing

    if not (options.names or options.older or options.all):
        raise UsageError('PATTERN, -older or -all is missing; try "help ckpt delete"')
    return listing.condemned(store, options.names, options.older, options.all)


VERB = Verb(
    name="delete",
    summary="Delete snapshots.",
    details="""\
Patterns and -older together delete what fits both. GDB asks before it deletes what was
not named in full ("set confirm off" has it not ask). Files that were kept for the snapshots
(executables, libraries, data files) go, too, unless another snapshot needs them. With one name
that does not exist nothing is deleted.""",
    options=Options,
    run=run,
    answer=answer,
    changes=True,
)
