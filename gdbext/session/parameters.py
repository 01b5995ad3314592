"""The values of `set ckpt`, what they may be, and what of them a restore or a save is given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..text.sizes import parse_bytes
from .settings import parameter

if TYPE_CHECKING:
    from ..debugger.launch import RestartOptions

FILES = ("auto", "real", "sandbox", "private", "strict")
IDS = ("auto", "saved", "virtual")
CLOCKS = ("auto", "keep", "real")
PEERS = ("reset", "silent")
DEFAULT_FILE_LIMIT = "64M"


def file_limit_bytes() -> int:
    """`set ckpt file-limit` in bytes."""
    return parse_bytes(str(parameter("ckpt file-limit") or DEFAULT_FILE_LIMIT))


def restart_options(store: Path) -> RestartOptions:
    """A restore from the store in the directory `store`, as the settings have it."""
    from ..debugger.launch import RestartOptions

    return RestartOptions(
        store=store,
        ids=str(parameter("ckpt ids") or "auto"),
        clock=str(parameter("ckpt clock") or "auto"),
        peers=str(parameter("ckpt peers") or "reset"),
    )
