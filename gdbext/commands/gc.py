"""`ckpt gc`"""

from __future__ import annotations

from ..errors import CkptError
from ..text.options import Parsed
from ._base import Verb


class Options(Parsed):
    """`ckpt gc` takes nothing."""



def run(options: Options) -> None:
    """Remove what is not needed."""
    from .. import session
    from ..text import report

    store = session.open_store()
    if not store.check():
        session.show(f"There is no store {store.root}.")
        return
    done = store.collect()
    if done.kept_because:
        raise CkptError(done.kept_because)
    session.show(report.collected(done))



VERB = Verb(
    name="gc",
    summary="Remove kept files that no snapshot needs any more.",
    details="""\
Executables, libraries and data files are kept for snapshots; "ckpt delete" removes those that
are not needed any more by itself. This does it for snapshots whose files were deleted by \
other means.
No snapshot is touched.""",
    options=Options,
    run=run,
    changes=True,
)
