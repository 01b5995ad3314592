"""`ckpt auto`"""

from __future__ import annotations

from typing import Optional, Tuple

from ..errors import UsageError
from ..text.options import Parsed, arguments, value
from ..text.sizes import parse_bytes
from ._base import Verb


class Options(Parsed):
    """What `ckpt auto` takes."""

    when: Tuple[str, ...] = arguments(
        "every SECONDS|every N stops|on-signal|off",
        "every SECONDS: whenever the program has run for so long (2.5, 30s, 5m);\n"
        "every N stops: at every Nth stop that comes to a prompt;\n"
        "on-signal: when the program gets a signal that is fatal unless it is handled;\n"
        "off: none of them any more. Without it the state is shown.",
        required=False,
        choices=("every", "on-signal", "off"),
    )
    keep: Optional[str] = value("keep", "K", "Keep the K newest of the trail. 20 at first.")
    bytes: Optional[str] = value(
        "bytes", "SIZE", "Keep no more than SIZE of the trail, e.g. 500M. No limit at first."
    )


def run(options: Options) -> None:
    """Change what is saved automatically, and tell."""
    from .. import session
    from ..session import auto

    keep = None
    if options.keep is not None:
        if not options.keep.isdecimal() or not 0 < int(options.keep) < 10**9:
            raise UsageError(f'-keep needs a number of snapshots, not "{options.keep}"')
        keep = int(options.keep)
    limit = parse_bytes(options.bytes) if options.bytes is not None else None
    auto.change(options.when, keep, limit)
    session.show(*auto.status_lines())


VERB = Verb(
    name="auto",
    summary="Save by itself, and keep the newest snapshots of that trail.",
    details="""The snapshots are called PROGRAM-auto-N. What the trail has too many of is deleted,
oldest first: only snapshots that this session of GDB has saved in this way.

"every SECONDS" interrupts the program while it runs in the foreground by "continue", "run" and
the like; not during "step", "next", "finish", "until", "advance" and called functions, which an
interruption would end. It uses a catchpoint, which "info breakpoints" shows.""",
    options=Options,
    run=run,
    changes=True,
)
