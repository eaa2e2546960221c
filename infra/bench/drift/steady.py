"""A steady stream through all of its watchers: consumes a seed, produces their alerts and what they cost.

Each event has an answer and a label. Nothing drifts, but nothing is tidy either: readings are missing,
outliers and late at constant rates, one label in twenty says that the answer was wrong, and the texts are
made of words with a long tail. Making events is not timed; handing them to the watch is.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import numpy as np

from schemas.clean import NO_FLAGS, Clean, Flags
from schemas.codec import decode, encode
from schemas.config import Stream
from schemas.drift import DriftAlert
from schemas.label import Label
from schemas.record import Coordinates, Kind
from streams.drift.answer import Answer
from streams.drift.batch import CleanBatch
from streams.drift.watch import DriftWatch

STREAM: Final = "steady"
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_AT_ONCE: Final = 2000
_PARTS: Final = ("clean", "predicted", "labelled")
_PARTITIONS: Final = 4
_CLASSES: Final = ("normal", "slow", "broken")
_WORDS: Final = 5000
_FLAGS: Final = (
    (0.010, Flags(imputed=("humidity",))),
    (0.005, Flags(outlier=("temperature",))),
    (0.002, Flags(late=True)),
)


@dataclass
class Steady:
    """What one run showed: processor seconds by what was handed over, and every alert."""

    kind: Kind
    seed: int
    events: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_PARTS, 0.0))
    alerts: list[DriftAlert] = field(default_factory=list)
    windows: int = 0

    @property
    def per_core(self) -> float:
        """Events a second, each with its answer and its label, that one core can watch."""
        return self.events / max(1e-9, sum(self.seconds.values()))

    def as_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "kind": self.kind.value,
            "seed": self.seed,
            "events": self.events,
            "windows": self.windows,
            "alerts": [f"{alert.signal.value}: {alert.summary}" for alert in self.alerts],
            "us_per_event": {
                part: round(1e6 * spent / max(1, self.events), 3) for part, spent in self.seconds.items()
            },
            "events_per_s_per_core": round(self.per_core),
        }


def watch(
    kind: Kind, events: int, rate: float, seed: int, progress: Callable[[int], None] = lambda _: None
) -> Steady:
    """Hand `events` events, `rate` a second of event time, to the watchers that a stream has by default."""
    config = Stream.model_validate({"kind": kind.value, "model": {"task": "classification"}})
    watched = DriftWatch(STREAM, config)
    found = Steady(kind, seed)
    traffic = _Traffic(kind, rate, seed)
    with _as_in_a_worker():
        for start in range(0, events, _AT_ONCE):
            batch, answers, labels = traffic.batch(start, min(_AT_ONCE, events - start))
            now = batch.events[-1].time
            for part, work in (
                ("clean", partial(watched.clean, batch, now)),
                ("predicted", partial(watched.predicted, answers, now)),
                ("labelled", partial(watched.labelled, labels, now)),
            ):
                began = time.process_time()
                raised = work()
                found.seconds[part] += time.process_time() - began
                found.alerts += [alert for alert in raised if not alert.recovered]
            found.events += len(batch.events)
            progress(found.events)
    found.windows = watched.windows
    return found


@contextmanager
def _as_in_a_worker() -> Iterator[None]:
    """Collect garbage as seldom as a worker does (`infra.cli.worker`)."""
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(10_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Traffic:
    """Seeded events of one stream."""

    def __init__(self, kind: Kind, rate: float, seed: int) -> None:
        self._kind = kind
        self._rate = rate
        self._random = np.random.default_rng(seed)
        ranks = np.arange(1, _WORDS + 1)
        self._words = np.cumsum(1.0 / ranks) / np.sum(1.0 / ranks)

    def batch(self, start: int, count: int) -> tuple[CleanBatch, list[Answer], list[Label]]:
        """Return events from number `start` on, with their answers and labels, as they are read back."""
        partition = start // _AT_ONCE % _PARTITIONS
        random = self._random
        truths = random.choice(3, size=count, p=(0.8, 0.15, 0.05))
        answers = np.where(random.random(count) < 0.05, random.integers(0, 3, count), truths)
        scores = np.clip(random.beta(12, 1.2, count), 0.34, 1.0)
        flags, contents = self._flags(count), self._contents(count)
        cleans, predictions, labels = [], [], []
        for n in range(count):
            number = start + n
            at = Coordinates("events.clean", partition, number)
            source, id = f"s{number % 200}", str(number)
            when = _START + timedelta(seconds=number / self._rate)
            clean = Clean(
                stream=STREAM, kind=self._kind, source=source, id=id, time=when, raw=at,
                flags=flags[n], **contents[n],
            )  # fmt: skip
            cleans.append(decode(encode(clean), Clean))
            answer = Answer(
                stream=STREAM, source=source, id=id, event=at, event_time=when,
                label=_CLASSES[answers[n]], score=float(scores[n]),
                version=1, predicted_at=when,
            )  # fmt: skip
            predictions.append(answer)
            truth = _CLASSES[truths[n]]
            labels.append(Label(stream=STREAM, source=source, id=id, label=truth, labelled_at=when))
        offsets = range(start, start + count)
        return CleanBatch("events.clean", partition, offsets, cleans), predictions, labels

    def _flags(self, count: int) -> list[Flags]:
        drawn = self._random.random((len(_FLAGS), count))
        flags = [NO_FLAGS] * count
        for (share, flag), row in zip(_FLAGS, drawn, strict=True):
            for n in np.flatnonzero(row < share):
                flags[n] = flag
        return flags

    def _contents(self, count: int) -> list[dict[str, Any]]:
        """Return readings that hang together, or texts."""
        random = self._random
        if self._kind is Kind.SENSOR:
            load = random.normal(size=count)
            columns = {
                "temperature": 40.0 + 4.0 * load + random.normal(size=count),
                "humidity": 50.0 + 8.0 * random.standard_t(4, size=count),
                "pressure": 1000.0 + np.floor(30.0 * random.random(count)),
                "vibration": np.exp(0.4 * load + 0.3 * random.normal(size=count)),
            }
            return [
                {"values": dict(zip(columns, row, strict=True))}
                for row in zip(*(column.tolist() for column in columns.values()), strict=True)
            ]
        words = np.searchsorted(self._words, random.random((count, 8)))
        lengths = random.integers(2, 9, count)
        join = "+" if self._kind is Kind.API else " "
        lead = "GET /shop/<num>?q=" if self._kind is Kind.API else "worker <num> took job: "
        return [
            {"text": lead + join.join(f"w{word}" for word in row[:length])}
            for row, length in zip(words.tolist(), lengths.tolist(), strict=True)
        ]
