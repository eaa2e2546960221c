"""Seeded traffic for the tests of the drift watch: events, predictions and labels of one stream."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from schemas.clean import Clean
from schemas.config import Stream
from schemas.drift import DriftAlert
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind
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
        self, count: int, *, wrong: float = 0.02, odd: float = 0.0, labelled: bool = True
    ) -> list[DriftAlert]:
        """Feed events, each with its answer and label; returns the alerts that this raised."""
        raised = []
        for _ in range(count):
            raised += self.event(wrong, odd, labelled)
        self.alerts += raised
        return raised

    def event(self, wrong: float, odd: float, labelled: bool) -> list[DriftAlert]:
        """Feed one event."""
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
        early = labelled and number % 3 == 0
        raised = self.watch.clean(clean, place, now)
        raised += self.watch.labelled(label, now) if early else []
        raised += self.watch.predicted(self.prediction(id, now, answer, place), now)
        raised += self.watch.labelled(label, now) if labelled and not early else []
        return raised

    def prediction(self, id: str, now: datetime, answer: str, place: Coordinates) -> Prediction:
        """Return an answer of the present version."""
        return Prediction(
            stream="requests",
            source="shop",
            id=id,
            event=place,
            raw=place,
            event_time=now,
            label=answer,
            score=0.8 + 0.2 * self._random.random(),
            model="requests",
            version=self.version,
            sha256="0" * 64,
            predicted_at=now,
        )
