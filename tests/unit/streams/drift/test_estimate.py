"""The watch over the estimated accuracy: silent while steady, early when answers become unsure."""

import json
from datetime import UTC, datetime, timedelta
from random import Random

from schemas.config import EstimateDrift, Stream
from schemas.drift import DriftAlert, Signal
from schemas.label import Label
from schemas.record import Coordinates
from streams.drift.answer import Answer
from streams.drift.batch import AnswerBatch
from streams.drift.estimate import Drop, EstimateWatch
from streams.drift.watch import DriftWatch

START = datetime(2026, 3, 14, tzinfo=UTC)


def answer(number: int, score: float, version: int = 1) -> Answer:
    """Return an answer, a second after the one before."""
    place = Coordinates("events.clean", 0, number)
    time = START + timedelta(seconds=number)
    return Answer(
        stream="requests",
        source="a",
        id=str(number),
        event=place,
        event_time=time,
        label="norm",
        score=score,
        version=version,
        predicted_at=time,
    )


def run(watch: EstimateWatch, random: Random, count: int, low: float, first: int = 0) -> list[Drop]:
    """Feed answers whose scores lie between `low` and 1, and are calibrated; return the drops."""
    found = []
    for number in range(first, first + count):
        score = random.uniform(low, 1.0)
        watch.judged(score, random.random() < score)
        if (drop := watch.update(AnswerBatch([answer(number, score)]))) is not None:
            found.append(drop)
    return found


def test_a_steady_stream_is_quiet():
    """A hundred thousand answers of one mix raise nothing."""
    watch = EstimateWatch(EstimateDrift(), 2)
    assert run(watch, Random(1), 100_000, 0.7) == []
    assert watch.quiet > 300


def test_unsure_answers_are_noticed_before_labels():
    """Two blocks after the scores fell the drop is known, from where to where and since when."""
    watch, random = EstimateWatch(EstimateDrift(), 2), Random(2)
    assert run(watch, random, 6_000, 0.8) == []
    drop, *_ = run(watch, random, 900, 0.4, first=6_000)
    assert abs(drop.before - 0.9) < 0.03
    assert abs(drop.after - 0.7) < 0.06
    assert drop.after < drop.threshold < drop.before
    assert START.timestamp() + 5_700 <= drop.since <= START.timestamp() + 6_300
    assert run(watch, random, 900, 0.8, first=6_900)[1:] == []
    assert watch.quiet >= 2


def test_a_restart_neither_forgets_nor_cries():
    """Through JSON and back in the middle, the same drop is found at the same answer."""
    watch, random = EstimateWatch(EstimateDrift(), 2), Random(4)
    run(watch, random, 6_400, 0.8)
    copy = EstimateWatch(EstimateDrift(), 2)
    copy.restore(json.loads(json.dumps(watch.snapshot())))
    state = random.getstate()
    expected = run(watch, random, 1_500, 0.4, first=6_400)
    random.setstate(state)
    assert run(copy, random, 1_500, 0.4, first=6_400) == expected != []


def test_the_stream_is_told_and_told_when_it_is_over():
    """One alert of its own signal, with its runbook; a new version ends it."""
    stream = Stream.model_validate({"kind": "api", "model": {}, "drift": {"prediction": {"enabled": False}}})
    watch, random = DriftWatch("requests", stream), Random(5)
    alerts: list[DriftAlert] = []

    def go(count: int, low: float, version: int = 1, *, labelled: bool = False) -> None:
        for _ in range(count):
            score = random.uniform(low, 1.0)
            number = len(seen)
            seen.append(number)
            now = START + timedelta(seconds=number)
            alerts.extend(watch.predicted([answer(number, score, version)], now))
            if labelled:
                truth = "norm" if random.random() < score else "sqli"
                label = Label(stream="requests", source="a", id=str(number), label=truth, labelled_at=now)
                alerts.extend(watch.labelled([label], now))

    seen: list[int] = []
    go(400, 0.8, labelled=True)
    go(4_000, 0.8)
    assert alerts == []
    go(1_200, 0.4)
    (alert,) = alerts
    assert alert.signal is Signal.ESTIMATE
    assert alert.runbook == "infra/runbooks/drift-estimate.md"
    assert alert.evidence["accuracy"]["calibrated_with"] >= 300
    assert "labels are still to say it" in alert.summary
    go(400, 0.8, version=2, labelled=True)
    go(3_000, 0.8, version=2)
    assert [one.recovered for one in alerts] == [False, True]
