"""`ckpt back`"""

from __future__ import annotations

from ..text.options import Parsed, argument
from ._base import Verb


class Options(Parsed):
    """What `ckpt back` takes."""

    count: str = argument("N", "How many snapshots to go (1).")


def run(options: Options) -> None:
    """Restore the snapshot before."""
    from .. import session
    from ..session import parameters, travel
    from . import restore

    store = session.open_store()
    restart = parameters.restart_options(store.root)
    restore.tell(travel.back(store, restart, travel.steps(options.count)))


VERB = Verb(
    name="back",
    aliases=("b",),
    summary="Restore the snapshot through which the program came here.",
    details="""\
Back along the snapshots of the program: those that "ckpt save" and "ckpt auto" have made of this
process, then the one from which it was restored, and those before that. A program that has gone
on since its last snapshot goes back to that one, after GDB's own question, since where it is now is
not saved.""",
    options=Options,
    run=run,
    changes=True,
)
