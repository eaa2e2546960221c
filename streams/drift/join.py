"""Joins labels with predictions by `(source, id)`: consumes both in any order, produces judged answers."""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, NamedTuple

from schemas.label import Label, is_right
from streams.drift.answer import Answer, unpacked
from streams.drift.batch import AnswerBatch

_MAX_PREDICTIONS: Final = 100_000
_MAX_LABELS: Final = 50_000


class Judged(NamedTuple):
    """An answer with its truth; `right` is None where the truth cannot tell (`schemas.label.is_right`)."""

    answer: Answer
    truth: str
    right: bool | None

    @property
    def error(self) -> bool:
        """Whether the answer was wrong."""
        return not self.right


def judged(answer: Answer, truth: str) -> Judged:
    """Hold an answer against its truth, once for all who ask."""
    return Judged(answer, truth, is_right(truth, answer.label, answer.score, answer.tolerance))


Key = tuple[str, str]


class LabelJoin:
    """Bounded on both sides: the 100,000 newest predictions, 50,000 labels that came first.

    An answer is judged once: by the first label, or by the newest of those that waited. What had to be
    dropped is counted.
    """

    def __init__(self, max_predictions: int = _MAX_PREDICTIONS, max_labels: int = _MAX_LABELS) -> None:
        self._max_predictions = max_predictions
        self._max_labels = max_labels
        self._answers: dict[Key, Answer | None] = {}  # oldest first; None: judged already
        self._labels: OrderedDict[Key, tuple[str, float]] = OrderedDict()
        self.counters: Counter[str] = Counter()

    def predicted(self, batch: AnswerBatch) -> list[Judged]:
        """Take answers; returns those judged whose labels were here first."""
        found = []
        answers, labels = self._answers, self._labels
        for answer in batch.answers:
            key = (answer.source, answer.id)
            if answers.get(key, self) is None:
                self.counters["predicted_again"] += 1
                continue
            if labels and (waiting := labels.pop(key, None)) is not None:
                answers[key] = None
                found.append(judged(answer, waiting[0]))
            else:
                answers[key] = answer
            if len(answers) > self._max_predictions:
                self._forget_some()
        return found

    def _forget_some(self) -> None:
        """Make room for as many more: what is found at the front of a dict in one go is found soon."""
        for key in list(islice(self._answers, max(1, self._max_predictions // 64))):
            self.counters["unlabelled"] += self._answers.pop(key) is not None

    def labelled(self, labels: Iterable[Label]) -> list[Judged]:
        """Take labels; returns the answers that they judge, as far as these are here."""
        found = []
        answers = self._answers
        for label in labels:
            key = (label.source, label.id)
            answer = answers.get(key)
            if answer is not None:
                answers[key] = None
                found.append(judged(answer, label.label))
            elif key in answers:
                self.counters["relabelled"] += 1
            else:
                self._wait(key, label)
        return found

    def _wait(self, key: Key, label: Label) -> None:
        """Keep a label that came before its answer; of several the newest."""
        at = label.labelled_at.timestamp()
        waiting = self._labels.get(key)
        if waiting is None or waiting[1] <= at:
            self._labels[key] = (label.label, at)
        if len(self._labels) > self._max_labels:
            self._labels.popitem(last=False)
            self.counters["unknown_labels"] += 1

    @property
    def waiting(self) -> tuple[int, int]:
        """Predictions remembered (judged ones among them), and labels that wait for theirs."""
        return len(self._answers), len(self._labels)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "answers": [[*key, answer and answer.packed()] for key, answer in self._answers.items()],
            "labels": [[*key, *label] for key, label in self._labels.items()],
            "counters": dict(self.counters),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._answers = {
            (source, id): unpacked(answer) if answer else None for source, id, answer in state["answers"]
        }
        self._labels = OrderedDict(((source, id), (label, at)) for source, id, label, at in state["labels"])
        self.counters = Counter(state["counters"])
