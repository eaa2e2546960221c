"""Alarms against the truth: consumes rows of alarms and of true drifts, says which found which and how late.

The first alarm within `tolerance` rows from a true drift on has found it; every other alarm is false. A
drift ends where the next begins.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Matched(NamedTuple):
    """What became of the true drifts: delay in rows by drift, those missed, and the false alarms."""

    given: tuple[int, ...]
    delays: dict[int, int]
    false: tuple[int, ...]

    @property
    def missed(self) -> list[int]:
        """Return the drifts that no alarm found."""
        return [drift for drift in self.given if drift not in self.delays]

    @property
    def mean_delay(self) -> float | None:
        """Return the mean delay of those found, None if there are none."""
        return sum(self.delays.values()) / len(self.delays) if self.delays else None

    def figures(self) -> dict[str, Any]:
        """Return them as the figures have them."""
        return {
            "given": len(self.given),
            "found": len(self.delays),
            "missed": len(self.missed),
            "false": len(self.false),
            "mean_delay": self.mean_delay,
            "delays": {str(drift): delay for drift, delay in self.delays.items()},
            "points": list(self.given),
        }


def match(alarms: Sequence[int], drifts: Sequence[int], tolerance: int) -> Matched:
    """Match alarms with drifts, both rows from 0."""
    given = tuple(sorted(drifts))
    delays: dict[int, int] = {}
    false = []
    for alarm in sorted(alarms):
        drift = max((d for d in given if d <= alarm), default=None)
        if drift is None or alarm - drift >= tolerance or drift in delays:
            false.append(alarm)
        else:
            delays[drift] = alarm - drift
    return Matched(given, delays, tuple(false))
