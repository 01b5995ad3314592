"""`ckpt forward`"""

from __future__ import annotations

from ..text.options import Parsed, argument
from ._base import Verb


class Options(Parsed):
    """What `ckpt forward` takes."""

    count: str = argument("N", "How many snapshots to go (1).")


def run(options: Options) -> None:
    """Restore the snapshot after."""
    from .. import session
    from ..session import parameters, travel
    from . import restore

    store = session.open_store()
    restart = parameters.restart_options(store.root)
    restore.tell(travel.forward(store, restart, travel.steps(options.count)))


VERB = Verb(
    name="forward",
    aliases=("f",),
    summary="Restore the snapshot that was saved after this one.",
    details="""\
The way that "ckpt back" came, if it did; else the next snapshot of the same process, else the \
one that
was saved of a program that had been restored from this one. If there are several of these, name
one: "ckpt restore NAME".""",
    options=Options,
    run=run,
    changes=True,
)
