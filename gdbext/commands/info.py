"""`ckpt info`"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

from ..text.options import Parsed, Words, argument, flag
from ._base import Verb

if TYPE_CHECKING:
    from ..records import Record
    from ..text.report import RestoredHere


class Options(Parsed):
    """What `ckpt info` takes."""

    name: str = argument(
        "NAME|FILE", "The snapshot's name, or a file.", Words.SNAPSHOT_OR_FILE, required=True
    )
    json: bool = flag("json", "Print the whole record as JSON.")
    verbose: bool = flag("verbose", "List each thing that will not come back as it was.")


def run(options: Options) -> None:
    """Show what a snapshot says of itself."""
    from .. import session
    from ..offline.snapshot import foreign_vdso
    from ..session import hardware
    from ..text import report

    name, path, record, here, strange = _found(options)
    if options.json:
        session.show(report.info_json(name, path, record, here, strange))
    else:
        vdso = foreign_vdso(Path(path))
        session.show(*report.info(name, path, record, here, vdso, strange, options.verbose))
        session.show(*(f"note: {note}" for note in hardware.notes_before_restore(record)))


def answer(options: Options) -> Dict[str, Any]:
    """What a snapshot says of itself."""
    from ..text import report

    table = report.info_table(*_found(options))
    # Names of variables are data, and need not be such as GDB/MI has.
    session = dict(table.get("session") or {})
    session["environment"] = [
        {"name": name, "value": value} for name, value in session.get("environment", {}).items()
    ]
    return {**table, "session": session}


def _found(options: Options) -> Tuple[str, str, Record, List[RestoredHere], Tuple[str, ...]]:
    from .. import session
    from ..debugger import sessions
    from ..session import life

    store = session.open_store()
    name, path = store.resolve(options.name)
    record = session.describe(path)
    strange = sessions.left_out_lines(store, path, record)
    return name, str(path), record, life.restores_of(path, record.created), strange


VERB = Verb(
    name="info",
    summary="Show what a snapshot holds.",
    details="""\
If the program that was saved had itself been restored with new ids, the ids that it remembers are
shown beside those that it had. If a program that was restored from the snapshot is in this GDB, it
is named, with the ids that it got.""",
    options=Options,
    run=run,
    answer=answer,
    changes=False,
)
