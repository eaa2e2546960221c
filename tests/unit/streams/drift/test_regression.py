"""The drift watch of a model that answers numbers: right is what lies within its tolerance."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from schemas.config import Model, Stream
from schemas.drift import DriftAlert, Response, Signal
from schemas.label import Label
from schemas.record import Coordinates
from schemas.release import Task
from streams.drift.answer import Answer, unpacked
from streams.drift.watch import DriftWatch
from tests.unit.streams.drift.traffic import at, config


def _config(**drift: Any) -> Stream:
    stream = config(input={"enabled": False}, prediction={"enabled": False}, **drift)
    return stream.model_copy(update={"model": Model(task=Task.REGRESSION)})


def _answers(count: int, start: int = 0, *, off: float = 0.0) -> Iterator[tuple[Answer, Label]]:
    """Yield answers and truths that lie apart by a deviation of 0.5, and `off` more."""
    random = Random(start)
    for number in range(start, start + count):
        truth, now = random.uniform(20, 60), at(number)
        answer = Answer(
            stream="requests", source="host", id=str(number), event=Coordinates("events.clean", 0, number),
            event_time=now, label="", score=truth + random.gauss(off, 0.5), version=1, predicted_at=now,
            tolerance=1.0,
        )  # fmt: skip
        said = f"{truth:.4f}"
        yield answer, Label(stream="requests", source="host", id=str(number), label=said, labelled_at=now)


def _feed(watch: DriftWatch, pairs: Iterator[tuple[Answer, Label]]) -> list[DriftAlert]:
    raised = []
    for answer, label in pairs:
        raised += watch.predicted([answer], answer.predicted_at)
        raised += watch.labelled([label], label.labelled_at)
    return raised


def test_numbers_that_go_astray_are_one_alert() -> None:
    """A bias beyond the tolerance is an error drift, told with the tolerance and without classes."""
    watch = DriftWatch("requests", _config())
    assert _feed(watch, _answers(3000)) == []
    (alert,) = _feed(watch, _answers(800, 3000, off=1.5))
    assert (alert.signal, alert.response) == (Signal.ERROR, Response.INCREMENT)
    assert alert.evidence["error_rate"]["before"] == pytest.approx(0.05, abs=0.02)
    assert alert.evidence["error_rate"]["after"] > 0.5
    assert alert.evidence["classes"] == {}
    example = alert.evidence["examples"][0]
    assert abs(float(example["predicted"]) - float(example["truth"])) > 1.0
    assert "error rate (answers further than 1 from the truth) rose from" in alert.summary


def test_labels_that_are_no_numbers_are_counted_and_left_out() -> None:
    """They judge nothing, and their number is told beside the levels."""
    watch = DriftWatch("requests", _config())
    for index, (answer, label) in enumerate(_answers(300)):
        watch.predicted([answer], answer.predicted_at)
        said = ("warm", "nan", "1e999", "")[index % 4] if index < 100 else label.label
        watch.labelled([Label(**{**_fields(label), "label": said})], label.labelled_at)
    levels = watch.levels(at(300))
    assert levels.counters["unreadable"] == 100
    assert levels.accuracy == pytest.approx(0.95, abs=0.04)


def test_scores_of_numbers_estimate_nothing() -> None:
    """A number says nothing of how likely it is right, so no accuracy is estimated from it."""
    watch = DriftWatch("requests", _config(estimate={"min_labels": 50, "min_events": 50}))
    _feed(watch, _answers(2000))
    assert Signal.ESTIMATE not in {level.signal for level in watch.levels(at(2000)).levels}


def test_the_watch_remembers_the_tolerance() -> None:
    """Answers come out of a snapshot as they went in, and a restored watch finds the same drift."""
    answer, _ = next(_answers(1))
    assert unpacked(answer.packed()) == answer
    watch = DriftWatch("requests", _config())
    _feed(watch, _answers(3000))
    again = DriftWatch("requests", _config())
    again.restore(watch.snapshot())
    found = [_feed(one, _answers(800, 3000, off=1.5)) for one in (watch, again)]
    assert [alert.id for alert in found[0]] == [alert.id for alert in found[1]]


def _fields(label: Label) -> dict[str, Any]:
    return {name: getattr(label, name) for name in label.__struct_fields__}
