"""`ckpt info`"""

from __future__ import annotations

from ..errors import UsageError
from ..options import Parsed, Words, argument, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt info` takes."""

    name: str = argument("NAME", "The snapshot's name, or a file.", Words.SNAPSHOT_OR_FILE)
    json: bool = flag("json", "Print the whole record as JSON.")


def run(options: Options) -> None:
    """Show what a snapshot says of itself."""
    from .. import report, session
    from ..session import life

    if options.name is None:
        raise UsageError('NAME is missing; try "help ckpt info"')
    store = session.open_store()
    name, path = store.resolve(options.name)
    record = session.describe(path)
    store.register_found(record.name or name, path, record)
    here = life.restores_of(path, record.created)
    if options.json:
        session.show(report.info_json(name, str(path), record, here))
    else:
        session.show(*report.info(name, str(path), record, here))


VERB = Verb(
    name="info",
    summary="Show what a snapshot holds.",
    details="""\
If the program that was saved had itself been restored with new ids, the ids that it remembers are
shown beside those that it had. If a program that was restored from the snapshot is in this GDB, it
is named, with the ids that it got.""",
    options=Options,
    run=run,
    changes=False,
)
