"""`ckpt bundle`"""

from __future__ import annotations

from ..text.options import Parsed, Words, argument, flag
from . import files
from ._base import Verb


class Options(Parsed):
    """What `ckpt bundle` takes."""

    name: str = argument(
        "NAME|FILE", "The snapshot's name, or a file.", Words.SNAPSHOT_OR_FILE, required=True
    )
    file: str = argument("FILE", "The bundle to write.", Words.FILE, required=True)
    force: bool = flag("force", "Replace FILE if it exists.")
    json: bool = flag("json", "Print a JSON object.")


def run(options: Options) -> None:
    """Write a bundle, and say what is in it and what is not."""
    from .. import session
    from ..offline.bundle import bundle
    from ..offline.snapshot import Snapshot
    from ..text import report

    output = files.path(options.file)
    with Snapshot.open(options.name, store=session.open_store().root) as snapshot:
        done = bundle(snapshot, output, force=options.force)
    if options.json:
        session.show(report.as_json(done._asdict()))
    else:
        session.show(
            *report.bundled(
                str(done.path), done.size_bytes, done.objects, done.debug_files, done.missing
            )
        )


VERB = Verb(
    name="bundle",
    summary="Write one file with a snapshot and all that it needs.",
    details="""The executable, the libraries, the data files that were kept and installed debug
information go along. "ckpt import" puts it into a store, also of another user or machine.""",
    options=Options,
    run=run,
    changes=True,
)
