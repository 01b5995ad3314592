"""`set ckpt` and `show ckpt`"""

from __future__ import annotations

from ..session.parameters import CLOCKS, DEFAULT_FILE_LIMIT, IDS, PEERS
from ..text.sizes import parse_bytes
from ._base import Setting


def _tell_directory(_: str) -> str:
    from .. import session

    return f"The store of snapshots is {session.store_directory()}."


def _show_in_prompt(value: str) -> None:
    from ..session import marker

    marker.show_in_prompt(value == "on")


def _size(text: str) -> str:
    parse_bytes(text)
    return text.strip()


SETTINGS = (
    Setting(
        name="directory",
        default="",
        set_help="Set the directory of the store of snapshots.",
        show_help="Show the directory of the store of snapshots.",
        details="""Without an argument: $CKPT_DIR, else $XDG_DATA_HOME/ckpt, else
~/.local/share/ckpt. It is created when the first snapshot is saved, for you alone.""",
        read=str,
        tell=_tell_directory,
        is_file=True,
    ),
    Setting(
        name="file-limit",
        default=DEFAULT_FILE_LIMIT,
        set_help="Set up to which size the content of an open file is kept with a snapshot.",
        show_help="Show up to which size the content of an open file is kept with a snapshot.",
        details="""In bytes, or with K, M or G. The content is kept once for all snapshots
that need it. A larger file that has changed by the time of a restore is an
error then.""",
        read=_size,
        tell=lambda value: f"Open files are kept up to {value} each.",
    ),
    Setting(
        name="ids",
        default="auto",
        set_help="Set which process and thread ids a restored program gets.",
        show_help="Show which process and thread ids a restored program gets.",
        details="""saved: those it had, or the restore fails; virtual: new ones;
auto: those it had if the kernel grants them, else new ones.""",
        read=str,
        tell=lambda value: f"Restored programs get their ids by: {value}.",
        choices=IDS,
    ),
    Setting(
        name="clock",
        default="auto",
        set_help="Set which monotonic clocks a restored program sees.",
        show_help="Show which monotonic clocks a restored program sees.",
        details="""keep: CLOCK_MONOTONIC and CLOCK_BOOTTIME go on from what they were at the save,
in a time namespace; real: those of the machine, which jump; auto: keep for
root, else real. An ordinary user's program needs a user namespace for it.""",
        read=str,
        tell=lambda value: f"Restored programs get their monotonic clocks by: {value}.",
        choices=CLOCKS,
    ),
    Setting(
        name="peers",
        default="reset",
        set_help="Set how pipes and connections to other processes come back.",
        show_help="Show how pipes and connections to other processes come back.",
        details="""\
reset: closed or reset, so that the program sees end of file, EPIPE or ECONNRESET;
silent: open; reads wait, and what is written is discarded.""",
        read=str,
        tell=lambda value: f"Pipes and connections to other processes come back: {value}.",
        choices=PEERS,
    ),
    Setting(
        name="prompt",
        default="off",
        set_help="Set whether the prompt has the name of the snapshot that the program came from.",
        show_help=(
            "Show whether the prompt has the name of the snapshot that the program came from."
        ),
        details="""\
With a "+" behind it when the program has gone on since. $_ckpt has the name, too.""",
        read=str,
        tell=lambda value: f"The name of the snapshot in the prompt is {value}.",
        apply=_show_in_prompt,
        choices=("off", "on"),
    ),
)
