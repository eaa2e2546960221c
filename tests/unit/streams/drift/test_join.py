"""The join of labels and predictions: any order, once each, bounded."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.label import Label
from schemas.record import Coordinates
from streams.drift.answer import Answer
from streams.drift.batch import AnswerBatch
from streams.drift.join import LabelJoin

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def prediction(id: str, label: str = "a") -> Answer:
    """Return an answer to an event."""
    place = Coordinates("events.clean", 0, int(id))
    return Answer(
        stream="s",
        source="x",
        id=id,
        event=place,
        event_time=NOW,
        label=label,
        score=1.0,
        version=1,
        predicted_at=NOW,
    )


def label(id: str, truth: str = "a", after_s: float = 0.0) -> Label:
    """Return the truth about an event."""
    return Label(stream="s", source="x", id=id, label=truth, labelled_at=NOW + timedelta(seconds=after_s))


@given(st.permutations([(kind, str(id)) for id in range(8) for kind in ("prediction", "label")]))
def test_every_pair_is_judged_once_in_any_order(order: list[tuple[str, str]]) -> None:
    """However predictions and labels arrive, each pair is judged exactly once, restarts included."""
    join = LabelJoin()
    judged = []
    for kind, id in order:
        found = (
            join.predicted(AnswerBatch([prediction(id)]))
            if kind == "prediction"
            else join.labelled([label(id)])
        )
        judged += [one.answer.id for one in found]
        restored = LabelJoin()
        restored.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(join.snapshot())))
        join = restored
    assert sorted(judged) == [str(id) for id in range(8)]


def test_the_newest_waiting_label_wins() -> None:
    """Of labels that came before the prediction the newest counts, whichever came last."""
    join = LabelJoin()
    join.labelled([label("1", "new", after_s=2.0), label("1", "old", after_s=1.0)])
    (judged,) = join.predicted(AnswerBatch([prediction("1")]))
    assert judged.truth == "new"
    assert judged.error


def test_a_second_label_does_not_judge_again() -> None:
    """A corrected label after the judgement is counted and changes nothing."""
    join = LabelJoin()
    join.predicted(AnswerBatch([prediction("1")]))
    assert len(join.labelled([label("1")])) == 1
    assert join.labelled([label("1", "b")]) == []
    assert join.predicted(AnswerBatch([prediction("1")])) == []
    assert join.counters == {"relabelled": 1, "predicted_again": 1}


def test_memory_is_bounded() -> None:
    """What is dropped for room is the oldest, and is counted."""
    join = LabelJoin(max_predictions=10, max_labels=5)
    for number in range(30):
        join.predicted(AnswerBatch([prediction(str(number))]))
        join.labelled([label(str(1000 + number))])
    assert join.waiting == (10, 5)
    assert join.counters["unlabelled"] == 20
    assert join.counters["unknown_labels"] == 25
