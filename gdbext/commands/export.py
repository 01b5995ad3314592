"""`ckpt export`"""

from __future__ import annotations

from ..text.options import Parsed, Words, argument, flag
from . import files
from ._base import Verb


class Options(Parsed):
    """What `ckpt export` takes."""

    name: str = argument(
        "NAME|FILE", "The snapshot's name, or a file.", Words.SNAPSHOT_OR_FILE, required=True
    )
    file: str = argument("FILE", "The core file to write.", Words.FILE, required=True)
    force: bool = flag("force", "Replace FILE if it exists.")
    json: bool = flag("json", "Print a JSON object.")


def run(options: Options) -> None:
    """Write a core file, and say what it takes and lacks."""
    from .. import session
    from ..offline.export import export
    from ..offline.snapshot import Snapshot
    from ..text import report

    output = files.path(options.file)
    with Snapshot.open(options.name, store=session.open_store().root) as snapshot:
        done = export(snapshot, output, force=options.force)
    if options.json:
        session.show(report.as_json(done._asdict()))
    else:
        session.show(*report.exported(str(done.path), done.disk_bytes, done.missing))


VERB = Verb(
    name="export",
    summary="Write a snapshot as a plain core file, for other tools.",
    details="""All memory that the program could read is in it, code and constants too; so gdb, lldb
and eu-stack need neither the snapshot nor its store.""",
    options=Options,
    run=run,
    changes=True,
)
