"""`ckpt verify`"""

from __future__ import annotations

from typing import Tuple

from ..errors import CkptError
from ..text.options import Parsed, Words, arguments, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt verify` takes."""

    names: Tuple[str, ...] = arguments(
        "NAME",
        "Names of snapshots, or files. Default: all of the store.",
        Words.SNAPSHOT_OR_FILE,
        required=False,
    )
    json: bool = flag("json", "Print a JSON array.")


def run(options: Options) -> None:
    """Compare everything with its digest. Raises CkptError when something is no good."""
    from .. import session
    from ..offline.snapshot import verify
    from ..text import report
    from ..text.progress import Progress

    store = session.open_store()
    results = []
    for name in options.names or store.names():
        with Progress(f"Verifying {report.printable(name)}") as progress:
            try:
                results.append(verify(name, store=store.root, progress=progress))
            except CkptError:
                if progress.interrupted:
                    raise KeyboardInterrupt from None
                raise
    if options.json:
        session.show(report.as_json([each._asdict() for each in results]))
    else:
        session.show(*report.verified(results))
    bad = [each.name for each in results if not each.good]
    if bad:
        names = ", ".join(f'"{name}"' for name in bad)
        raise CkptError(f"{names} {'is' if len(bad) == 1 else 'are'} no good")


VERB = Verb(
    name="verify",
    summary="Compare snapshots, and what they need, with their digests.",
    details="It fails when one is damaged, or needs what is nowhere to be had.",
    options=Options,
    run=run,
    changes=False,
)
