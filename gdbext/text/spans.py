"""Spans of time as people write them: "2.5", "30s", "5m", "2h", "7d"."""

from __future__ import annotations

import re

from ..errors import UsageError

_UNITS_S = {
    "": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0,
    "w": 604800.0,
}  # fmt: skip


def seconds(text: str, what: str = "a time") -> float:
    """The span in seconds. Raises UsageError, which calls it `what`."""
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([a-z]*)", text)
    if match is None or match[2] not in _UNITS_S:
        raise UsageError(f'{what} is a number of seconds or e.g. 2m, 3h, 7d, not "{text}"')
    return float(match[1]) * _UNITS_S[match[2]]
