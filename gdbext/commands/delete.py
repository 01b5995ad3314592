"""`ckpt delete`"""

from __future__ import annotations

from typing import Any, Dict, Tuple

from ..options import Parsed, Words, arguments
from ._base import Verb


class Options(Parsed):
    """What `ckpt delete` takes."""

    names: Tuple[str, ...] = arguments(
        "NAME", "The names of the snapshots to delete.", Words.SNAPSHOT
    )


def run(options: Options) -> None:
    """Delete snapshots, and the kept files nobody needs any more."""
    from .. import report, session

    session.show(*report.deleted(session.open_store().delete(options.names)))


def answer(options: Options) -> Dict[str, Any]:
    """Delete snapshots; what was deleted."""
    from .. import session

    return session.open_store().delete(options.names)._asdict()


VERB = Verb(
    name="delete",
    summary="Delete snapshots.",
    details="""Files that were kept for them (executables, libraries, data files) go, too, unless
another snapshot needs them. With one name that does not exist nothing is deleted.""",
    options=Options,
    run=run,
    answer=answer,
    changes=True,
)
