"""`ckpt save`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Optional

from ..text.options import Parsed, Words, argument, flag, value
from ._base import Verb

if TYPE_CHECKING:
    from ..session.saving import Saved


class Options(Parsed):
    """What `ckpt save` takes."""

    name: Optional[str] = argument(
        "NAME", "The snapshot's name, unique in the store. Default: PROGRAM-N."
    )
    message: str = value(
        "m",
        "MESSAGE",
        "A text kept with the snapshot; quote it if it has spaces.",
        default="",
        text=True,
    )
    output: Optional[str] = value(
        "o", "FILE", "Write the image to FILE instead of the store.", words=Words.FILE
    )
    force: bool = flag("force", "Replace a snapshot of that name, or FILE.")
    strict: bool = flag("strict", "Save nothing if something would be lost or come back changed.")
    verbose: bool = flag("verbose", "List each thing that will not come back as it was.")


def run(options: Options) -> None:
    """Save, and say what was saved and what will not come back."""
    from .. import session
    from ..session import saving
    from ..text import report

    done = _save(options)
    session.show(saving.told_of(done))
    session.show(*report.notes(done.notes, options.verbose))
    session.show(*report.fidelity(done.fidelity, options.verbose))


def answer(options: Options) -> Dict[str, Any]:
    """Save; what was saved and what will not come back."""
    done = _save(options)
    return {
        "name": done.name,
        "file": done.path,
        "bytes": done.file_bytes,
        "seconds": done.seconds,
        "threads": done.threads,
        "stop": done.stop,
        "place": done.place,
        "notes": done.notes,
        "fidelity": [each._asdict() for each in done.fidelity],
    }


def _save(options: Options) -> Saved:
    from pathlib import Path

    from .. import session
    from ..session import parameters, saving

    return saving.save(
        session.open_store(),
        saving.SaveRequest(
            name=options.name,
            message=options.message,
            output=Path(options.output) if options.output is not None else None,
            force=options.force,
            file_limit_bytes=parameters.file_limit_bytes(),
            strict=options.strict,
        ),
    )


VERB = Verb(
    name="save",
    summary="Save the stopped program as a snapshot on disk.",
    details="""\
A snapshot is a checkpoint on disk. The program goes on afterwards as if nothing had happened.
"ckpt restore" brings the snapshot back any number of times, in this session of GDB or another.

What will not come back as it was is listed after the save.""",
    options=Options,
    run=run,
    answer=answer,
    changes=True,
)
