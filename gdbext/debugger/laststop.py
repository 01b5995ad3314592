"""What GDB tells of a stop when it happens, and forgets."""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional, Tuple


class Told(NamedTuple):
    """A stop: the reason and the signal in GDB/MI's words (both "" before GDB 14), and the number
    and the type (GDB's) of each breakpoint that was hit.
    """

    reason: str
    signal: str
    points: Tuple[Tuple[int, int], ...]


told: Optional[Told] = None

# How often breakpoints had been hit, by their numbers, when a stop at their place was told last.
_hits: Dict[int, int] = {}


def watch(events: Any) -> None:
    """Begin to know. `events`: GDB's. Cheap: it is done for everybody who loads the package."""
    events.stop.connect(_on_stop)


def _on_stop(event: Any) -> None:
    global told
    details = getattr(event, "details", None) or {}
    there = getattr(event, "breakpoints", ())
    # Those with a condition that does not hold are among them, but they were not hit.
    hit = [each for each in there if each.hit_count != _hits.get(each.number, 0)] or there
    _hits.update({each.number: each.hit_count for each in there})
    # Temporary ones are about to go.
    points = sorted(
        ((int(each.number), int(each.type)) for each in hit),
        key=lambda point: bool(point[0] != details.get("bkptno", point[0])),
    )
    told = Told(
        str(details.get("reason", "")), str(getattr(event, "stop_signal", "")), tuple(points)
    )
