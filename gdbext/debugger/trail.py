"""What `ckpt auto` was told: when to save by itself, and how much of the trail is kept."""

from __future__ import annotations

import re
from typing import List, NamedTuple, Optional, Sequence

from ..errors import UsageError
from ..text.spans import seconds

KEEP = 20
# Shorter than a save takes nothing would be left for the program.
LEAST_S = 0.05


class Schedule(NamedTuple):
    """When to save: every so many seconds that the program runs, at every so many stops, at fatal
    signals; None or False for not.
    """

    every_s: Optional[float] = None
    every_stops: Optional[int] = None
    on_signal: bool = False

    @property
    def active(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.every_s or self.every_stops or self.on_signal)

    def describe(self) -> str:
        """In words."""
        parts = []
        if self.every_s:
            parts.append(f"every {self.every_s:g} s while the program runs")
        if self.every_stops:
            stops = "stop" if self.every_stops == 1 else f"{self.every_stops} stops"
            parts.append(f"every {stops}")
        if self.on_signal:
            parts.append("at fatal signals")
        return ", ".join(parts)


def changed(schedule: Schedule, words: Sequence[str]) -> Schedule:
    """The schedule after `ckpt auto WORDS`. Raises UsageError."""
    if not words:
        return schedule
    if list(words) == ["off"]:
        return Schedule()
    if list(words) == ["on-signal"]:
        return schedule._replace(on_signal=True)
    if words[0] == "every" and len(words) == 2:
        return schedule._replace(every_s=_seconds(words[1]))
    if words[0] == "every" and len(words) == 3 and words[2] in ("stop", "stops"):
        if not re.fullmatch(r"[1-9]\d{0,8}", words[1]):
            raise UsageError(f'a number of stops is 1, 2, ..., not "{words[1]}"')
        return schedule._replace(every_stops=int(words[1]))
    raise UsageError(
        f'"every SECONDS", "every N stops", "on-signal" or "off", not "{" ".join(words)}"'
    )


def _seconds(text: str) -> float:
    span = seconds(text)
    if span < LEAST_S:
        raise UsageError(f"saving more often than every {LEAST_S:g} s is not possible")
    return span


class Kept(NamedTuple):
    """A snapshot of the trail: what tells it from another one of that name, and its size."""

    name: str
    created: float
    file_bytes: int


def surplus(trail: Sequence[Kept], keep: int, limit_bytes: Optional[int]) -> List[Kept]:
    """The snapshots of the trail (oldest first) that are too many or too much; never the newest."""
    count = max(len(trail) - keep, 0)
    if limit_bytes is not None:
        total = sum(each.file_bytes for each in trail[count:])
        while count < len(trail) - 1 and total > limit_bytes:
            total -= trail[count].file_bytes
            count += 1
    return list(trail[: min(count, max(len(trail) - 1, 0))])
