"""Joins labels with predictions by `(source, id)`: consumes both in any order, produces judged answers."""

from collections import Counter, OrderedDict
from typing import Any, Final, NamedTuple

from schemas.label import Label
from schemas.prediction import Prediction

_MAX_PREDICTIONS: Final = 100_000
_MAX_LABELS: Final = 50_000


class Answer(NamedTuple):
    """A prediction as far as judging it needs. `event_time`, `predicted_at` in seconds since 1970."""

    version: int
    label: str
    event_time: float
    predicted_at: float
    topic: str
    partition: int
    offset: int
    score: float


class Judged(NamedTuple):
    """A prediction with its truth."""

    source: str
    id: str
    answer: Answer
    truth: str

    @property
    def error(self) -> bool:
        """Whether the answer was wrong."""
        return self.answer.label != self.truth


Key = tuple[str, str]


class LabelJoin:
    """Bounded on both sides: the 100,000 newest predictions, 50,000 labels that came first.

    An answer is judged once: by the first label, or by the newest of those that waited. What had to be
    dropped is counted.
    """

    def __init__(self, max_predictions: int = _MAX_PREDICTIONS, max_labels: int = _MAX_LABELS) -> None:
        self._max_predictions = max_predictions
        self._max_labels = max_labels
        self._answers: OrderedDict[Key, Answer | None] = OrderedDict()  # None: judged already
        self._labels: OrderedDict[Key, tuple[str, float]] = OrderedDict()
        self.counters: Counter[str] = Counter()

    def predicted(self, prediction: Prediction) -> Judged | None:
        """Take a prediction; returns it judged when its label was here first."""
        key = (prediction.source, prediction.id)
        if self._answers.get(key, self) is None:
            self.counters["predicted_again"] += 1
            return None
        answer = Answer(
            prediction.version,
            prediction.label,
            prediction.event_time.timestamp(),
            prediction.predicted_at.timestamp(),
            prediction.event.topic,
            prediction.event.partition,
            prediction.event.offset,
            prediction.score,
        )
        waiting = self._labels.pop(key, None)
        self._answers[key] = answer if waiting is None else None
        if len(self._answers) > self._max_predictions:
            _, dropped = self._answers.popitem(last=False)
            self.counters["unlabelled"] += dropped is not None
        return None if waiting is None else Judged(*key, answer, waiting[0])

    def labelled(self, label: Label) -> Judged | None:
        """Take a label; returns the prediction it judges when that is here."""
        key = (label.source, label.id)
        if key in self._answers:
            answer = self._answers[key]
            self._answers[key] = None
            if answer is None:
                self.counters["relabelled"] += 1
                return None
            return Judged(*key, answer, label.label)
        at = label.labelled_at.timestamp()
        waiting = self._labels.get(key)
        if waiting is None or waiting[1] <= at:
            self._labels[key] = (label.label, at)
        if len(self._labels) > self._max_labels:
            self._labels.popitem(last=False)
            self.counters["unknown_labels"] += 1
        return None

    @property
    def waiting(self) -> tuple[int, int]:
        """Predictions remembered (judged ones among them), and labels that wait for theirs."""
        return len(self._answers), len(self._labels)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "answers": [[*key, answer] for key, answer in self._answers.items()],
            "labels": [[*key, *label] for key, label in self._labels.items()],
            "counters": dict(self.counters),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._answers = OrderedDict(
            ((source, id), Answer(*answer) if answer else None) for source, id, answer in state["answers"]
        )
        self._labels = OrderedDict(((source, id), (label, at)) for source, id, label, at in state["labels"])
        self.counters = Counter(state["counters"])
