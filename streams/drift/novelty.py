"""Readings unlike any before: consumes clean events, finds what is new about one metric of one source.

No drift of a model, but what the metric's owner wants to know at once. Each metric has a detector of its own.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from schemas.config import NoveltyDrift
from streams.detectors.novelty import Aspect, Novelty
from streams.drift.batch import CleanBatch
from streams.drift.rows import Event

_WINDOW: Final = 64
_MEMORY: Final = 4096


@dataclass(frozen=True)
class Novel:
    """A reading that is new, and those of its metric before it, oldest first; `time` in s since 1970."""

    source: str
    reading: str
    value: float
    score: float
    threshold: float
    aspect: Aspect
    time: float
    event: Event
    before: list[float]


class _Metric:
    """One reading of one source."""

    def __init__(self, threshold: float) -> None:
        self.novelty = Novelty(threshold, _WINDOW, _MEMORY)
        self.recent: deque[float] = deque(maxlen=_WINDOW)
        self.since: int | None = None  # readings since the newest one that was new


class NoveltyWatch:
    """The metrics of one stream, the first `series` that come. Memory: some 0.4 MB a metric.

    `quiet` tells that every metric that was new has had as many readings since as are told once.
    """

    def __init__(self, config: NoveltyDrift) -> None:
        self._config = config
        self._metrics: dict[tuple[str, str], _Metric] = {}
        self._latest = 0.0
        self.left_out = 0
        """Readings of metrics for which there was no place."""

    def take(self, config: NoveltyDrift) -> None:
        """Go on by another configuration; with another threshold, or after a time off, metrics begin anew."""
        before, self._config = self._config, config
        if (before.threshold, before.enabled) != (config.threshold, config.enabled):
            self._metrics.clear()
        while len(self._metrics) > config.series:
            self._metrics.popitem()

    def update(self, batch: CleanBatch) -> list[Novel]:
        """Take events; returns the readings that are new."""
        wanted = self._config.readings
        found = []
        for index, clean in enumerate(batch.events):
            for name, value in clean.values.items():
                if wanted and name not in wanted:
                    continue
                metric = self._metric((clean.source, name))
                if metric is None:
                    self.left_out += 1
                elif (new := self._rated(metric, name, value, batch, index)) is not None:
                    found.append(new)
        return found

    def _metric(self, key: tuple[str, str]) -> _Metric | None:
        metric = self._metrics.get(key)
        if metric is None and len(self._metrics) < self._config.series:
            metric = self._metrics[key] = _Metric(self._config.threshold)
        return metric

    def _rated(self, metric: _Metric, name: str, value: float, batch: CleanBatch, index: int) -> Novel | None:
        """Rate the next reading of a metric; returns it if it is new."""
        novelty = metric.novelty
        novelty.update(value)
        before = list(metric.recent)
        metric.recent.append(value)
        self._latest = novelty.score
        if metric.since is not None:
            metric.since = metric.since + 1 if metric.since < _WINDOW else None
        if not novelty.anomaly_detected or novelty.aspect is None:
            return None
        metric.since = 0
        return Novel(
            source=batch.events[index].source,
            reading=name,
            value=value,
            score=novelty.score,
            threshold=self._config.threshold,
            aspect=novelty.aspect,
            time=float(batch.times[index]),
            event=batch.event(index),
            before=before,
        )

    @property
    def quiet(self) -> bool:
        """Whether nothing is new any more."""
        return all(metric.since is None for metric in self._metrics.values())

    @property
    def readiness(self) -> float:
        """1: metrics are rated one by one, from their fortieth reading on."""
        return 1.0

    @property
    def observations(self) -> int:
        """How many metrics are watched."""
        return len(self._metrics)

    def nearest(self) -> tuple[str, float, float]:
        """Return what is measured, the newest reading's score, and the threshold."""
        return "novelty of the newest reading", self._latest, self._config.threshold

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        metrics = [
            [source, name, metric.novelty.snapshot(), list(metric.recent), metric.since]
            for (source, name), metric in self._metrics.items()
        ]
        return {"metrics": metrics, "latest": self._latest, "left_out": self.left_out}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._metrics.clear()
        for source, name, novelty, recent, since in state["metrics"]:
            metric = self._metrics[source, name] = _Metric(self._config.threshold)
            metric.novelty.restore(novelty)
            metric.recent.extend(recent)
            metric.since = since
        self._latest, self.left_out = state["latest"], state["left_out"]
