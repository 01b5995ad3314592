"""Sizes as people write them: "1048576", "1M", "1MiB" or "1m"."""

from __future__ import annotations

import re

from ..errors import UsageError

_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_bytes(text: str) -> int:
    """The size in bytes. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d{1,15})\s*([KMGT]?)(?:iB|B)?\s*", text, re.IGNORECASE)
    if match is None:
        raise UsageError(f'a size is a number of bytes or e.g. 64M, not "{text}"')
    return int(match[1]) * _FACTORS[match[2].upper()]
