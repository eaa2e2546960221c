"""What is watched of events and answers: consumes clean events and predictions, produces their shifts."""

from collections.abc import Sequence
from typing import Any, Final

from schemas.clean import Clean
from schemas.config import ShiftDrift
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind
from streams.detectors.text import FEATURES, Vocabulary, features
from streams.drift.rows import Row
from streams.drift.shift import Shift, ShiftWatch

_MAX_FEATURES: Final = 512
_MAX_CLASSES: Final = 100


class InputWatch:
    """Features of events: a sensor's readings by name, a text's shape and novelty.

    The first half of a text reference teaches the vocabulary; novelty is measured from there on.
    """

    def __init__(self, kind: Kind, config: ShiftDrift, hysteresis: int) -> None:
        self._kind = kind
        self._teach_until = config.reference // 2
        self.shift = ShiftWatch(config, hysteresis)
        self.start()

    def start(self) -> None:
        """Collect a new reference."""
        self.shift.start()
        self._names: dict[str, int] = {}
        self._vocabulary = Vocabulary()
        self._taught = 0

    def update(self, clean: Clean, at: Coordinates, now_s: float) -> Shift | None:
        """Take the next event at `now_s`; returns the shift that it completes the evidence for."""
        time = clean.time.timestamp()
        found = self.shift.advance(time, at.partition, now_s)
        if (sample := self.shift.place(time)) is not None:
            event = (at.topic, at.partition, at.offset, clean.source, clean.id)
            sample.keep(Row(time, self._readings(clean), event))
        if self.shift.reference() is not None:
            sensor = self._kind is Kind.SENSOR
            self.shift.watch(list(self._names) if sensor else FEATURES, missing=sensor)
        return found

    def _readings(self, clean: Clean) -> list[float]:
        if self._kind is Kind.SENSOR:
            return self._values(clean)
        row = features(clean.text, self._vocabulary)
        if self._taught < self._teach_until:
            self._taught += 1
            self._vocabulary.learn(clean.text)
            row[-2:] = [float("nan")] * 2  # what teaches the vocabulary cannot be new to it
        return row

    def _values(self, clean: Clean) -> list[float]:
        if self.shift.psi is None and len(self._names) < _MAX_FEATURES:
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
        self.shift = ShiftWatch(config, hysteresis)
        self.start()

    def start(self) -> None:
        """Collect a new reference."""
        self.shift.start()
        self._classes: dict[str, int] = {}

    @property
    def classes(self) -> Sequence[str]:
        """The classes of the reference, in the order of their codes."""
        return list(self._classes)

    def update(self, prediction: Prediction, now_s: float) -> Shift | None:
        """Take the next answer at `now_s`; returns the shift that it completes the evidence for."""
        time = prediction.event_time.timestamp()
        at = prediction.event
        found = self.shift.advance(time, at.partition, now_s)
        if (sample := self.shift.place(time)) is not None:
            event = (at.topic, at.partition, at.offset, prediction.source, prediction.id)
            sample.keep(Row(time, [self._code(prediction.label), prediction.score], event))
        if self.shift.reference() is not None:
            self.shift.watch(("class", "confidence"), (max(1, len(self._classes)), 0))
        return found

    def _code(self, label: str) -> float:
        """Return a class's code; classes that the reference does not know share one."""
        code = self._classes.get(label)
        if code is None and self.shift.psi is None and len(self._classes) < _MAX_CLASSES:
            code = self._classes[label] = len(self._classes)
        return float(len(self._classes) if code is None else code)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"shift": self.shift.snapshot(), "classes": list(self._classes)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.shift.restore(state["shift"])
        self._classes = {name: code for code, name in enumerate(state["classes"])}
