"""What is watched of events and answers: consumes clean events and predictions, produces their shifts."""

from collections.abc import Sequence
from typing import Any, Final

from schemas.clean import Clean
from schemas.config import InputDrift, ShiftDrift
from schemas.record import Kind
from streams.detectors.text import FEATURES, Vocabulary, features, terms
from streams.drift.answer import Answer
from streams.drift.batch import AnswerBatch, CleanBatch
from streams.drift.compare import Features
from streams.drift.rows import Row
from streams.drift.shift import Shift, ShiftWatch

_MAX_FEATURES: Final = 512
_MAX_CLASSES: Final = 100


class InputWatch:
    """Features of events: a sensor's readings by name, a text's shape, novelty and terms.

    The first half of a text reference teaches the vocabulary; novelty is measured from there on.
    """

    def __init__(self, kind: Kind, config: InputDrift, hysteresis: int) -> None:
        self._config = config
        self._sensor = kind is Kind.SENSOR
        self._teach_until = config.reference // 2
        self.shift = ShiftWatch(config, hysteresis, self._features)
        self.start()

    def start(self) -> None:
        """Collect a new reference."""
        self.shift.start()
        self._names: dict[str, int] = {}
        self._vocabulary = Vocabulary()
        self._taught = 0

    def take(self, config: InputDrift, hysteresis: int) -> None:
        """Go on by another configuration; with another reference, or after a time off, one is collected."""
        before, self._config = self._config, config
        self._teach_until = config.reference // 2
        self.shift.take(config, hysteresis)
        anew = ("detectors", "reference", "joint", "enabled")
        if any(getattr(before, key) != getattr(config, key) for key in anew):
            self.start()

    def update(self, batch: CleanBatch, now_s: float) -> Shift | None:
        """Take the next events at `now_s`; returns the shift that they complete the evidence for."""

        def row(index: int) -> Row:
            clean = batch.events[index]
            if self._sensor:
                return Row(float(batch.times[index]), self._values(clean), batch.event(index))
            readings, found = self._shape(clean.text), terms(clean.text)
            return Row(float(batch.times[index]), readings, batch.event(index), found)

        return self.shift.update(batch.times, batch.partitions, now_s, row)

    def _features(self) -> Features:
        """Return what the reference that was collected has."""
        if self._sensor:
            return Features(list(self._names), joint=self._config.joint)
        return Features(FEATURES, missing=False, joint=self._config.joint, text=True)

    def _shape(self, text: str) -> list[float]:
        row = features(text, self._vocabulary)
        if self._taught < self._teach_until:
            self._taught += 1
            self._vocabulary.learn(text)
            row[-2:] = [float("nan")] * 2  # what teaches the vocabulary cannot be new to it
        return row

    def _values(self, clean: Clean) -> list[float]:
        if self.shift.comparison is None and len(self._names) < _MAX_FEATURES:
            for name in clean.values:
                self._names.setdefault(name, len(self._names))
        row = [float("nan")] * len(self._names)
        for name, value in clean.values.items():
            if (column := self._names.get(name)) is not None:
                row[column] = value
        return row

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "shift": self.shift.snapshot(),
            "names": list(self._names),
            "vocabulary": self._vocabulary.snapshot(),
            "taught": self._taught,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.shift.restore(state["shift"])
        self._names = {name: column for column, name in enumerate(state["names"])}
        self._vocabulary = Vocabulary(state["vocabulary"])
        self._taught = state["taught"]


class PredictionWatch:
    """What the model answers: the shares of its classes, and how sure it is."""

    def __init__(self, config: ShiftDrift, hysteresis: int) -> None:
        self._config = config
        self.shift = ShiftWatch(config, hysteresis, self._features)
        self.start()

    def take(self, config: ShiftDrift, hysteresis: int) -> None:
        """Go on by another configuration; with another reference, or after a time off, one is collected."""
        before, self._config = self._config, config
        self.shift.take(config, hysteresis)
        anew = ("detectors", "reference", "enabled")
        if any(getattr(before, key) != getattr(config, key) for key in anew):
            self.start()

    def start(self) -> None:
        """Collect a new reference."""
        self.shift.start()
        self._classes: dict[str, int] = {}

    @property
    def classes(self) -> Sequence[str]:
        """The classes of the reference, in the order of their codes."""
        return list(self._classes)

    def update(self, batch: AnswerBatch, now_s: float) -> Shift | None:
        """Take the next answers at `now_s`; returns the shift that they complete the evidence for."""

        def row(index: int) -> Row:
            answer = batch.answers[index]
            return Row(float(batch.times[index]), self._readings(answer), answer.where)

        return self.shift.update(batch.times, batch.partitions, now_s, row)

    def _features(self) -> Features:
        """Return what is read of an answer."""
        return Features(("class", "confidence"), (max(1, len(self._classes)), 0))

    def _readings(self, answer: Answer) -> list[float]:
        """Return the code of the class, and the score; classes that the reference does not know share one."""
        code = self._classes.get(answer.label)
        if code is None and self.shift.comparison is None and len(self._classes) < _MAX_CLASSES:
            code = self._classes[answer.label] = len(self._classes)
        return [float(len(self._classes) if code is None else code), answer.score]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"shift": self.shift.snapshot(), "classes": list(self._classes)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.shift.restore(state["shift"])
        self._classes = {name: code for code, name in enumerate(state["classes"])}
