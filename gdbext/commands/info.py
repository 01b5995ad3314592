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

    if options.name is None:
        raise UsageError('NAME is missing; try "help ckpt info"')
    store = session.open_store()
    name, path = store.resolve(options.name)
    record = session.describe(path)
    store.register_found(record.name or name, path, record)
    if options.json:
        session.show(report.info_json(name, str(path), record))
    else:
        session.show(*report.info(name, str(path), record))


VERB = Verb(
    name="info",
    summary="Show what a snapshot holds.",
    details="",
    options=Options,
    run=run,
    changes=False,
)
