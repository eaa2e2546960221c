"""How near a stream's signals are to their thresholds: consumes its watches, produces their levels."""

from collections.abc import Mapping
from typing import Protocol

from schemas.drift import Signal
from streams.drift.error import ErrorWatch
from streams.drift.levels import DriftLevel


class Watched(Protocol):
    """What a level is read from."""

    @property
    def readiness(self) -> float: ...
    @property
    def observations(self) -> int: ...
    def nearest(self) -> tuple[str, float, float]: ...


def levels_of(
    error: ErrorWatch | None, watched: Mapping[Signal, Watched], standing: Mapping[Signal, str]
) -> tuple[DriftLevel, ...]:
    """Return the level of every signal; `standing` has the ids of alerts that are not over."""
    levels = []
    if error is not None:
        statistic, threshold = error.level()
        levels.append(
            DriftLevel(
                signal=Signal.ERROR,
                name="error rate",
                statistic=statistic,
                threshold=threshold,
                readiness=min(1.0, error.labels / error.min_labels),
                observations=error.labels,
                active=standing.get(Signal.ERROR, ""),
            )
        )
    for signal, watch in watched.items():
        name, statistic, threshold = watch.nearest()
        level = DriftLevel(
            signal=signal,
            name=name,
            statistic=statistic,
            threshold=threshold,
            readiness=watch.readiness,
            observations=watch.observations,
            active=standing.get(signal, ""),
        )
        levels.append(level)
    return tuple(levels)
