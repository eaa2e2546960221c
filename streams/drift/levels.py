"""How near each signal is to its threshold: produced by the watch, shown by `headrace drift` and the demo."""

from datetime import datetime
from typing import Final

import msgspec

from schemas.drift import Signal
from schemas.record import Contract

TTL_S: Final = 15
"""Levels older than this are gone: nobody watches."""


def level_key(topic_prefix: str, stream: str) -> str:
    """Return the Redis key of a stream's levels."""
    return f"headrace:{topic_prefix}drift:{stream}"


class DriftLevel(Contract, frozen=True, kw_only=True):
    """One signal: `statistic` against `threshold`, in the unit of `name`.

    `readiness` is the share of the reference or of the first labels that has arrived; below 1 nothing can be
    raised yet. `active` names the alert that stands.
    """

    signal: Signal
    name: str
    statistic: float
    threshold: float
    readiness: float
    observations: int
    active: str = ""

    @property
    def nearness(self) -> float:
        """Statistic as a share of its threshold; 1 and above is drift."""
        return self.statistic / self.threshold if self.threshold > 0 else 0.0


class StreamLevels(Contract, frozen=True, kw_only=True):
    """All signals of one stream at the moment `at`.

    `accuracy` is that of the newest labels of the serving version, `baseline_accuracy` what it was before
    them (or before the standing drift); None until there are labels.
    """

    stream: str
    model: str
    version: int
    at: datetime
    events: int
    predictions: int
    labels: int
    accuracy: float | None
    baseline_accuracy: float | None
    levels: tuple[DriftLevel, ...]
    counters: dict[str, int] = {}


def decode_levels(payload: bytes) -> StreamLevels:
    """Read what the board published."""
    return msgspec.json.decode(payload, type=StreamLevels)
