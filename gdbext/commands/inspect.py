"""`ckpt inspect`"""

from __future__ import annotations

from ..text.options import Parsed, Words, argument, flag
from ._base import Verb


class Options(Parsed):
    """What `ckpt inspect` takes."""

    name: str = argument(
        "NAME|FILE", "The snapshot's name, or a file.", Words.SNAPSHOT_OR_FILE, required=True
    )
    json: bool = flag("json", "Print a JSON object.")


def run(options: Options) -> None:
    """Open a snapshot, and say where it is."""
    from .. import session
    from ..session import postmortem, restoring
    from ..text import report

    before = session.current_inferior()
    done = postmortem.inspect(session.open_store(), options.name)
    if options.json:
        session.show(
            report.as_json(
                {"name": done.name, "inferior": done.inferior, "threads": len(done.record.threads)}
            )
        )
        return
    session.show(report.inspected(done.record, done.name, done.inferior, before))
    restoring.print_location()


VERB = Verb(
    name="inspect",
    summary="Open a snapshot post-mortem, in a new inferior.",
    details="""There is no process: memory, registers, threads and stacks can be looked at, and
nothing can run. The program being debugged is not touched; "inferior N" goes back to it. When
that is done, "detach" lets go of the snapshot and "remove-inferiors" of its inferior.""",
    options=Options,
    run=run,
    changes=True,
)
