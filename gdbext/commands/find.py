"""`ckpt find`"""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Tuple

from ..errors import CkptError, UsageError
from ..text.options import Parsed, Words, argument, arguments, flag
from ._base import Verb

if TYPE_CHECKING:
    from ..store.store import Entry, Store


class Options(Parsed):
    """What `ckpt find` takes."""

    expression: str = argument(
        "EXPR",
        "The condition, in quotes if it has spaces; after -- if it begins with a dash.",
        Words.EXPRESSION,
        required=True,
    )
    patterns: Tuple[str, ...] = arguments(
        "PATTERN",
        "Names of snapshots, or patterns. Default: those of the program's history; without a\n"
        "program, that of the newest snapshot.",
        Words.SNAPSHOT,
        required=False,
    )
    first: bool = flag("first", "Find the first one in which EXPR is true (the default).")
    last: bool = flag("last", "Find the last one in which EXPR is true.")
    json: bool = flag("json", "Print a JSON object.")


def run(options: Options) -> None:
    """Find where a condition changes, and say in which snapshot."""
    from .. import session
    from ..session import marker, postmortem, recordings
    from ..text import report

    if options.first and options.last:
        raise UsageError("either -first or -last")
    if recordings.is_here() and not options.patterns:
        _find_in_recording(options)
        return
    store = session.open_store()
    entries = _entries(store, options.patterns)
    if not entries:
        raise CkptError(f"there are no snapshots in {store.root}")
    done = postmortem.search(store, entries, options.expression, options.last)
    if done.found.at is None and done.found.silent == done.found.asked:
        raise CkptError(f"{options.expression}: {done.problem}")
    marker.found(entries[done.found.at].name if done.found.at is not None else None)
    if options.json:
        session.show(report.as_json(report.found_table(entries, done.found)))
    else:
        session.show(*report.found(entries, done.found, options.last))


def _find_in_recording(options: Options) -> None:
    from .. import session
    from ..session import moving, restoring
    from ..text import report, timeline

    done = moving.find(options.expression, options.last)
    if options.json:
        session.show(report.as_json(timeline.found_table(done.position, done.asked)))
        return
    session.show(*timeline.found(options.expression, done.position, done.asked, options.last))
    if done.position is not None:
        restoring.print_location()


def _entries(store: "Store", patterns: Tuple[str, ...]) -> "List[Entry]":
    """The snapshots to look at, oldest first."""
    from ..session import positions, selected_pid
    from ..store import history

    if patterns:
        try:
            return sorted(store.select(patterns), key=lambda entry: entry.created)
        except CkptError as error:
            raise UsageError(
                f"{error} (an expression with spaces is quoted)"
            ) from None
    entries = store.entries()
    found = history.line(entries, positions.position()) if selected_pid() else []
    newest = list(history.known(entries).values())[-1:]
    return found or (history.line(entries, history.Position.of(newest[0])) if newest else [])


VERB = Verb(
    name="find",
    summary="Find the first snapshot in which a condition is true, or the last, without a process.",
    details="""\
The snapshots are looked at in the order in which they were saved, each as "ckpt print" does.
Half of them are left out at every look, so that ten are enough for a thousand; that is right when
EXPR changes once, from false to true (with -last from true to false). If it changes more often,
one of the changes is found; "ckpt print" shows them all. Snapshots in which EXPR has no value
are passed over. $_ckpt_found is the name of the snapshot.

When a recording is being debugged (see "ckpt rewind") and no PATTERN is given, its events are
looked at in the same way, EXPR being false where it has no value, and the program goes to the one
that is found.""",
    options=Options,
    run=run,
    changes=False,
)
