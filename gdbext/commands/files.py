"""File names as people type them."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

from ..errors import UsageError


def path(text: str) -> Path:
    """`text` as an absolute path; "~" is for people, not for programs."""
    return Path(text).expanduser().absolute()


def pair(name: Optional[str], file: Optional[str], verb: str) -> Tuple[str, Path]:
    """The arguments NAME FILE of a verb. Raises UsageError when one is missing."""
    if name is None or file is None:
        missing = "NAME" if name is None else "FILE"
        raise UsageError(f'{missing} is missing; try "help ckpt {verb}"')
    return name, path(file)
