"""Seeded traffic for the tests of the drift watch: events, predictions and labels of one stream."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from schemas.clean import Clean
from schemas.config import Stream
from schemas.drift import DriftAlert
from schemas.label import Label
from schemas.record import Coordinates, Kind
from streams.drift.answer import Answer
from streams.drift.batch import CleanBatch
from streams.drift.watch import DriftWatch

START = datetime(2026, 1, 1, tzinfo=UTC)
RATE = 100  # events per second
_WORDS = (
    "red",
    "blue",
    "teapot",
    "lamp",
    "jacket",
    "shoes",
    "cart",
    "order",
    "search",
    "size",
    "page",
    "item",
)


def config(**drift: Any) -> Stream:
    """Return a stream of requests with short windows; `drift` overrides its section."""
    section = {
        "input": {"window": "5s", "reference": 1000, "min_events": 300},
        "prediction": {"window": "5s", "reference": 1000, "min_events": 300},
        **drift,
    }
    return Stream.model_validate({"kind": "api", "model": {"task": "classification"}, "drift": section})


def at(number: int) -> datetime:
    """Return the event time of the event with a number."""
    return START + timedelta(seconds=number / RATE)


class Traffic:
    """Feeds a watch; `wrong` is the share of wrong answers, `odd` that of payloads of a new kind."""

    def __init__(self, watch: DriftWatch, seed: int = 1) -> None:
        self.watch = watch
        self.number = 0
        self.version = 1
        self.alerts: list[DriftAlert] = []
        self._random = Random(seed)

    def feed(
        self, count: int, *, wrong: float = 0.02, odd: float = 0.0, labelled: bool = True, at_once: int = 1
    ) -> list[DriftAlert]:
        """Feed events, each with its answer and label, in batches; returns the alerts that this raised."""
        raised = []
        for start in range(0, count, at_once):
            size = min(at_once, count - start)
            raised += self.batch([self.event(wrong, odd) for _ in range(size)], labelled)
        self.alerts += raised
        return raised

    def batch(self, events: list[tuple[Clean, Answer, Label]], labelled: bool) -> list[DriftAlert]:
        """Feed a batch; of three labels, one is there before its answer."""
        now = events[-1][0].time
        raised = []
        for partition in (0, 1):
            cleans = [clean for clean, _, _ in events if clean.raw.partition == partition]
            if cleans:
                offsets = [clean.raw.offset for clean in cleans]
                raised += self.watch.clean(CleanBatch("events.clean", partition, offsets, cleans), now)
        early = [label for _, _, label in events if int(label.id) % 3 == 0]
        late = [label for _, _, label in events if int(label.id) % 3]
        raised += self.watch.labelled(early, now) if labelled else []
        raised += self.watch.predicted([answer for _, answer, _ in events], now)
        return raised + (self.watch.labelled(late, now) if labelled else [])

    def event(self, wrong: float, odd: float) -> tuple[Clean, Answer, Label]:
        """Return the next event with its answer and its label."""
        number, random, now = self.number, self._random, at(self.number)
        self.number += 1
        text = "GET /shop?q=" + "+".join(random.choices(_WORDS, k=random.randint(1, 4)))
        if random.random() < odd:
            text = (
                f"GET /shop?q=<svg onload={''.join(random.choices('abcdefghij', k=8))}(`{number}`)>;--$(id)"
            )
        truth = random.choice(["norm", "sqli"])
        answer = ("sqli" if truth == "norm" else "norm") if random.random() < wrong else truth
        place = Coordinates("events.clean", number % 2, number // 2)
        id = str(number)
        clean = Clean(stream="requests", kind=Kind.API, source="shop", id=id, time=now, raw=place, text=text)
        label = Label(stream="requests", source="shop", id=id, label=truth, labelled_at=now)
        return clean, self.prediction(id, now, answer, place), label

    def prediction(self, id: str, now: datetime, answer: str, place: Coordinates) -> Answer:
        """Return an answer of the present version."""
        return Answer(
            stream="requests",
            source="shop",
            id=id,
            event=place,
            event_time=now,
            label=answer,
            score=0.8 + 0.2 * self._random.random(),
            version=self.version,
            predicted_at=now,
        )
