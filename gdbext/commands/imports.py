"""`ckpt import`"""

from __future__ import annotations

from typing import Optional

from ..text.options import Parsed, Words, argument, flag, value
from . import files
from ._base import Verb


class Options(Parsed):
    """What `ckpt import` takes."""

    file: str = argument("FILE", "The bundle.", Words.FILE, required=True)
    name: Optional[str] = value("name", "NAME", "What to call it. Default: its own name.")
    force: bool = flag("force", "Replace a snapshot of that name.")
    json: bool = flag("json", "Print a JSON object.")


def run(options: Options) -> None:
    """Put a bundle's snapshot into the store."""
    from .. import session
    from ..offline.bundle import import_bundle
    from ..text import report

    done = import_bundle(
        session.open_store(), files.path(options.file), name=options.name, force=options.force
    )
    if options.json:
        session.show(report.as_json(done._asdict()))
    else:
        session.show(f'Imported "{done.name}"')


VERB = Verb(
    name="import",
    summary="Put the snapshot of a bundle into the store.",
    details="""Everything is compared with its digest first. Who restores a snapshot runs its
program: import only from a source whose programs you would run.""",
    options=Options,
    run=run,
    changes=True,
)
