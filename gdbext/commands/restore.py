"""`ckpt restore`"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Dict, Optional, Tuple

from ..errors import UsageError
from ..session.parameters import CLOCKS, FILES, IDS, PEERS
from ..text.options import Parsed, Words, argument, flag, repeated, value
from ._base import Verb

if TYPE_CHECKING:
    from ..session.restoring import Restored


class Options(Parsed):
    """What `ckpt restore` takes."""

    target: Optional[str] = argument(
        "NAME|FILE",
        "The snapshot's name, or a file. Default: the newest snapshot.",
        Words.SNAPSHOT_OR_FILE,
    )
    stdin: Optional[str] = value(
        "stdin", "FILE", "Standard input comes from FILE.", words=Words.FILE
    )
    stdout: Optional[str] = value(
        "stdout", "FILE", "Standard output goes to FILE.", words=Words.FILE
    )
    stderr: Optional[str] = value(
        "stderr", "FILE", "Standard error goes to FILE.", words=Words.FILE
    )
    files: str = value(
        "files",
        "POLICY",
        "auto: real if the files are as they were and no other process writes them, else sandbox\n"
        "(the default); real: whatever is there now; sandbox: the files as they were, by name,\n"
        "too, and nothing reaches the user's; private: copies of open files only;\n"
        "strict: an error when anything has changed.",
        default="auto",
        choices=FILES,
    )
    file: Tuple[str, ...] = repeated(
        "file", "OLD=NEW", "Open NEW where the program had OLD open.", words=Words.FILE
    )
    set: Tuple[str, ...] = repeated(
        "set",
        "EXPR=VALUE",
        "Give EXPR, in the frame that was selected at the save, the value VALUE.",
        words=Words.EXPRESSION,
    )
    env: Tuple[str, ...] = repeated(
        "env", "NAME=VALUE", "Change the environment that the program sees."
    )
    no_session: bool = flag(
        "no-session", "Leave out breakpoints, displays, arguments and environment."
    )
    trust: bool = flag(
        "trust",
        "Take the commands, conditions and displays of a snapshot that was not saved here, too.",
    )
    ids: Optional[str] = value(
        "ids",
        "WHICH",
        "Thread and process ids: those saved, new ones, or (auto) those saved if the\n"
        'kernel grants them. Default: "show ckpt ids".',
        choices=IDS,
    )
    clock: Optional[str] = value(
        "clock",
        "WHICH",
        "CLOCK_MONOTONIC and CLOCK_BOOTTIME: those of the machine (real), gone on from the\n"
        "save (keep), or (auto) the latter for root. Default: \"show ckpt clock\".",
        choices=CLOCKS,
    )
    peers: Optional[str] = value(
        "peers",
        "WHICH",
        "Pipes and connections to other processes come back closed or reset (reset), or with\n"
        "another end that stays open, sends nothing and discards what is written (silent).\n"
        'Default: "show ckpt peers".',
        choices=PEERS,
    )
    verbose: bool = flag("verbose", "List each thing that has not come back as it was.")


def run(options: Options) -> None:
    """Restore, and say what came back, then where."""
    tell(_restore(options, ask=True), options.verbose)


def answer(options: Options) -> Dict[str, Any]:
    """Restore; what came back."""
    from ..session import stopreason

    done = _restore(options, ask=False)
    stopreason.announce(done.stop)
    return {
        "name": done.name,
        "pid": done.pid,
        "ids": done.ids,
        "threads": len(done.record.threads),
        "created": done.record.created,
        "message": done.record.message,
        "notes": done.notes,
    }


def _restore(options: Options, ask: bool) -> Restored:
    from .. import session
    from ..session import parameters, restoring

    store = session.open_store()
    restart = parameters.restart_options(store.root)._replace(
        files=options.files,
        file=tuple(_pair(text) for text in options.file),
        stdin=_path(options.stdin),
        stdout=_path(options.stdout),
        stderr=_path(options.stderr),
        env=tuple(_variable(text) for text in options.env),
    )
    if options.ids is not None:
        restart = restart._replace(ids=options.ids)
    if options.clock is not None:
        restart = restart._replace(clock=options.clock)
    if options.peers is not None:
        restart = restart._replace(peers=options.peers)
    changes = tuple(_assignment(text) for text in options.set)
    return restoring.restore(
        store,
        restoring.RestoreRequest(
            options.target, restart, not options.no_session, ask, changes, options.trust
        ),
    )


def tell(done: Restored, verbose: bool = False) -> None:
    """Say what came back, then where."""
    from .. import session
    from ..session import restoring, stopreason
    from ..text import report

    session.show(report.restored(done.record, done.name, done.pid, done.ids, done.seconds))
    session.show(*report.notes(done.notes, verbose))
    stopreason.announce(done.stop, restoring.print_location)


def _pair(text: str) -> Tuple[str, str]:
    old, equals, new = text.partition("=")
    if not (old and equals and new):
        raise UsageError(f'-file needs OLD=NEW, not "{text}"')
    return os.path.abspath(os.path.expanduser(old)), os.path.abspath(os.path.expanduser(new))


def _variable(text: str) -> str:
    name, equals, _ = text.partition("=")
    if not (name and equals):
        raise UsageError(f'-env needs NAME=VALUE, not "{text}"')
    return text


def _assignment(text: str) -> Tuple[str, str]:
    # Not the "=" of a comparison.
    match = re.search(r"(?<![=!<>])=(?!=)", text)
    expression, value = (text[: match.start()], text[match.end() :]) if match else ("", "")
    # Ada and Pascal assign by ":=".
    if expression.endswith(":") and not expression.endswith("::"):
        expression = expression[:-1]
    if not (expression.strip() and value.strip()):
        raise UsageError(f'-set needs EXPR=VALUE, not "{text}"')
    return expression.strip(), value.strip()


def _path(text: Optional[str]) -> Optional[str]:
    # Absolute, since the helper need not have our directory; ~ is for people, not for programs.
    return os.path.abspath(os.path.expanduser(text)) if text is not None else None


VERB = Verb(
    name="restore",
    aliases=("r",),
    summary="Bring a snapshot back as the program being debugged.",
    details="""A snapshot is a checkpoint on disk. It replaces the present program; everything that
can be checked is checked before that one is killed. Breakpoints, watchpoints, displays,
arguments and environment of the session that saved come back, too. No "file" command is
needed first.""",
    options=Options,
    run=run,
    answer=answer,
    changes=True,
)
