"""File names as people type them."""

from __future__ import annotations

from pathlib import Path

def path(text: str) -> Path:
    """`text` as an absolute path; "~" is for people, not for programs."""
    return Path(text).expanduser().absolute()
