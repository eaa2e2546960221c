"""An answer as far as watching it needs: read from `predictions`, or taken from a prediction at hand."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

import msgspec

from schemas.prediction import Prediction
from schemas.record import Coordinates, Moment
from streams.drift.rows import Event


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A `Prediction` without what no watch asks for; hundreds of thousands are remembered at once."""

    stream: str
    source: str
    id: str
    event: Coordinates
    event_time: Moment
    label: str
    score: float
    version: int
    variant: str = "champion"
    predicted_at: Moment
    tolerance: float | None = None

    @classmethod
    def of(cls, prediction: Prediction) -> Self:
        """Take over a prediction."""
        return cls(**{name: getattr(prediction, name) for name in cls.__struct_fields__})

    @property
    def where(self) -> Event:
        """Which event it is the answer to."""
        at = self.event
        return at.topic, at.partition, at.offset, self.source, self.id

    def packed(self) -> list[Any]:
        """Return the fields as plain values, without their names."""
        times = self.event_time.timestamp(), self.predicted_at.timestamp()
        told = self.label, self.score, self.version, self.variant, self.tolerance
        return [*self.where, self.stream, *times, *told]

    @property
    def said(self) -> str:
        """What was answered, in words: the label, or a regression's number."""
        return self.label if self.tolerance is None else f"{self.score:.6g}"


def unpacked(fields: Sequence[Any]) -> Answer:
    """Return the answer that was packed."""
    topic, partition, offset, source, id, stream, event_time, predicted_at, label, score, *rest = fields
    version, variant, tolerance = rest
    return Answer(
        stream=stream,
        source=source,
        id=id,
        event=Coordinates(topic, partition, offset),
        event_time=datetime.fromtimestamp(event_time, UTC),
        label=label,
        score=score,
        version=version,
        variant=variant,
        predicted_at=datetime.fromtimestamp(predicted_at, UTC),
        tolerance=tolerance,
    )
