"""Alerts of every signal, raised by a real watch over seeded traffic."""

from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from random import Random
from typing import Any

import msgspec

from schemas.dead import Dead
from schemas.drift import DriftAlert, Signal
from schemas.errors import Reason
from schemas.record import Coordinates
from streams.drift.watch import DriftWatch
from tests.unit.streams.drift.traffic import Traffic, at, config

BATCH = 50
WINDOWS = {"window": "5s", "reference": 1000, "min_events": 300}
OFF: dict[str, Any] = {name: {"enabled": False} for name in ("input", "prediction", "estimate", "quality")}


def _watch(**drift: Any) -> DriftWatch:
    """Return a watch of nothing but what is named."""
    return DriftWatch("requests", config(**{**OFF, "error": {"detector": "off"}, **drift}))


def _from_traffic() -> Iterator[DriftAlert]:
    """Wrong answers, then odd payloads, each until they are over."""
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"error": {}}, {"wrong": 0.4}),
        ({"input": WINDOWS}, {"odd": 0.6}),
    ]
    for drift, change in changes:
        traffic = Traffic(_watch(**drift))
        yield from traffic.feed(4000)
        yield from traffic.feed(3000, **change)
        yield from traffic.feed(6000)


def _prediction() -> Iterator[DriftAlert]:
    """Answers nearly all of which become one class."""
    traffic, chance = Traffic(_watch(prediction=WINDOWS)), Random(3)
    answers = []
    for number in range(6000):
        answer = "sqli" if chance.random() < (0.95 if number >= 4000 else 0.5) else "norm"
        place = Coordinates("events.clean", 0, number)
        answers.append(traffic.prediction(str(number), at(number), answer, place))
        if len(answers) == BATCH:
            yield from traffic.watch.predicted(answers, at(number))
            answers = []


def _estimate() -> Iterator[DriftAlert]:
    """Scores that fall."""
    traffic, chance = Traffic(_watch(estimate={})), Random(9)
    yield from traffic.feed(4000, wrong=0.1)
    answers = []
    for number in range(4000, 6000):
        told = traffic.prediction(str(number), at(number), "norm", Coordinates("events.clean", 0, number))
        answers.append(msgspec.structs.replace(told, score=chance.random() / 3))
        if len(answers) == BATCH:
            yield from traffic.watch.predicted(answers, at(number))
            answers = []


def _quality() -> Iterator[DriftAlert]:
    """Events that are all rejected."""
    traffic = Traffic(_watch(quality={}))
    yield from traffic.feed(6000, labelled=False)
    for number in range(6000, 9000):
        dead = Dead(
            reason=Reason.WRONG_TYPE,
            message="no number",
            stage="clean",
            raw=Coordinates("events.raw", 0, number),
            rejected_at=at(number),
            stream="requests",
            source="shop",
            id=str(number),
            original=b"",
        )
        yield from traffic.watch.rejected(dead, at(number))


def _silence() -> Iterator[DriftAlert]:
    """A source that stops sending."""
    traffic = Traffic(_watch(quality={"enabled": False, "silence": "60s"}))
    yield from traffic.feed(10)
    yield from traffic.watch.tick(at(10) + timedelta(minutes=2))


@cache
def raised() -> tuple[DriftAlert, ...]:
    """Return every alert and recovery notice that these histories raise."""
    made = (_from_traffic, _prediction, _estimate, _quality, _silence)
    return tuple(alert for make in made for alert in make())


def one(signal: Signal) -> DriftAlert:
    """Return the first alert of a signal."""
    return next(alert for alert in raised() if alert.signal is signal and not alert.recovered)


def recovered(signal: Signal) -> DriftAlert:
    """Return the notice that the alert of a signal is over."""
    return next(alert for alert in raised() if alert.signal is signal and alert.recovered)


def older(alert: DriftAlert) -> DriftAlert:
    """Return an alert of inputs with no more evidence than the first watches gave."""
    known = ("feature", "psi", "threshold", "ks", "wasserstein", "mean", "histogram")
    features = [{name: one[name] for name in known} for one in alert.evidence["features"]]
    kept = {name: alert.evidence[name] for name in ("examples", "first")}
    return msgspec.structs.replace(alert, evidence={"features": features, **kept})
