"""`ckpt` itself, `set ckpt` and `show ckpt`"""

from __future__ import annotations

from typing import NamedTuple, Tuple

from . import params


class Prefix(NamedTuple):
    """A command that only has subcommands; alone it runs `alone`."""

    name: str
    help: str
    alone: Tuple[str, ...]


CKPT = Prefix(
    "ckpt",
    """Snapshots (checkpoints) of the program being debugged, on disk.
"ckpt save" writes the stopped program with everything it has to a file, and the program goes on.
"ckpt restore" brings it back, in this session of GDB or another, any number of times.
"ckpt rewind" debugs a recording, made by ckpt-record, forwards and backwards.""",
    ("help ckpt",),
)
SET = Prefix("set ckpt", "Settings of the ckpt commands.", ("help set ckpt",))
SHOW = Prefix(
    "show ckpt",
    "Show the settings of the ckpt commands.",
    tuple(f"show ckpt {setting.name}" for setting in params.SETTINGS),
)
