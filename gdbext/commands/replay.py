"""`ckpt replay`"""

from __future__ import annotations

from typing import Optional, Tuple

from ..errors import ReplayError
from ..text.options import Parsed, Words, argument, flag, repeated, value
from ._base import Verb


class Options(Parsed):
    """What `ckpt replay` takes."""

    snapshot: str = argument(
        "SNAPSHOT",
        "The snapshot's name, or a file, or a bundle.",
        Words.SNAPSHOT_OR_FILE,
        required=True,
    )
    script: Optional[str] = value(
        "script",
        "FILE",
        "GDB commands to run (or Python, by the name's ending). Default: continue to the\n"
        "end, or to a fatal signal, and a backtrace there.",
        words=Words.FILE,
    )
    expect: Optional[str] = value(
        "expect",
        "FILE",
        "What is expected. Default: beside the script, or beside the snapshot's file, or\n"
        "in the current directory, with the ending .expect.",
        words=Words.FILE,
    )
    update: bool = flag("update", "Record what happens as the expectation.")
    timeout: str = value(
        "timeout", "SECONDS", "How long it may take to run. Default: 60.", default="60"
    )
    program: Optional[str] = value(
        "program",
        "FILE",
        "Ask another build of the program: started as the saved one was, and run to the\n"
        "same place. Does the recorded failure occur again?",
        words=Words.FILE,
    )
    at: Optional[str] = value(
        "at", "LOCATION", "Run that program to LOCATION, in place of where the snapshot was made."
    )
    gone: bool = flag("gone", "The recorded failure must not occur with that program.")
    stdin: Optional[str] = value(
        "stdin", "FILE", "Standard input comes from FILE.", words=Words.FILE
    )
    file: Tuple[str, ...] = repeated(
        "file", "OLD=NEW", "Open NEW where the program had OLD open.", words=Words.FILE
    )
    junit: Optional[str] = value(
        "junit", "FILE", "Write the result as JUnit XML, too.", words=Words.FILE
    )


def run(options: Options) -> None:
    """Replay in another GDB; a result other than "as recorded" is an error of the command."""
    from .. import native, session
    from ..regression import run as replaying
    from ..session import outside

    result = replaying.replay(
        replaying.Options(
            snapshot=options.snapshot,
            script=options.script,
            expect=options.expect,
            timeout_s=replaying.seconds(options.timeout),
            update=options.update,
            junit=options.junit,
            program=options.program,
            at=options.at,
            gone=options.gone,
            stdin=options.stdin,
            files=tuple(replaying.pair(text) for text in options.file),
            store=session.store_directory(),
            gdb=outside.this_gdb(),
            python=native.python_program(),
        )
    )
    outside.set_result(result.status)
    session.show(*result.lines)
    if result.status != replaying.AS_RECORDED:
        raise ReplayError(result.headline)
    session.show(result.headline)


VERB = Verb(
    name="replay",
    summary="Restore a snapshot in another GDB, and compare what happens with what was recorded.",
    details="""\
Nothing of yours is touched: not the program being debugged, no file, no settings. Compared are
what GDB prints (without addresses, ids, times and paths), the program's output, and its end.
$_ckpt_replay is 0 when all was as recorded, 1 when not, 2 when it could not be run; the
command fails in the latter two.""",
    options=Options,
    run=run,
    changes=True,
)
