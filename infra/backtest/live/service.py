"""The model in service: consumes clean events, produces predictions as the inference worker writes them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from schemas import topics
from schemas.clean import Clean
from schemas.prediction import Prediction
from schemas.record import Coordinates
from schemas.release import Release, Swap
from trainers.encoder import Encoder
from trainers.model import Model, answers, folder_of, open_model, scores
from trainers.row import Row


class Service:
    """One release, opened from its folder: what answers here is what would be served."""

    def __init__(self, release: Release, home: Path, encoders: dict[str, Encoder]) -> None:
        """Open a release; models of one encoder share it in `encoders`, so that a text is embedded once."""
        self.release = release
        opened, _ = open_model(folder_of(release.uri), home, threads=1)
        self.model = sharing(opened, encoders)

    def answer(self, events: Sequence[tuple[Clean, Coordinates]]) -> list[Prediction]:
        """Answer events; each at its own event time."""
        found = judged(self.model, [clean for clean, _ in events])
        return [
            self._prediction(clean, at, label, score)
            for (clean, at), (label, score) in zip(events, found, strict=True)
        ]

    def swapped(self, at_s: float, offset: int) -> Swap:
        """Return the record of this release taking over at an offset."""
        return Swap(
            model=self.release.model,
            stream=self.release.stream,
            version=self.release.version,
            sha256=self.release.sha256,
            worker="backtest",
            first_offsets={f"{topics.CLEAN.name}:0": offset},
            swapped_at=datetime.fromtimestamp(at_s, UTC),
        )

    def _prediction(self, clean: Clean, at: Coordinates, label: str, score: float) -> Prediction:
        return Prediction(
            stream=clean.stream,
            source=clean.source,
            id=clean.id,
            event=at,
            raw=clean.raw,
            event_time=clean.time,
            label=label,
            score=score,
            model=self.release.model,
            version=self.release.version,
            sha256=self.release.sha256,
            predicted_at=clean.time,
        )


def sharing(model: Model, encoders: dict[str, Encoder]) -> Model:
    """Return a model with the encoder of its kind that is there already, or leave its own there."""
    if model.encoder is None:
        return model
    return replace(model, encoder=encoders.setdefault(model.encoder.digest, model.encoder))


def judged(model: Model, events: Sequence[Clean]) -> list[tuple[str, float]]:
    """Return label and score of each event."""
    rows = [
        Row(source=c.source, id=c.id, time=c.time, event=c.raw, text=c.text, values=c.values) for c in events
    ]
    if not rows:
        return []
    outputs = model.outputs(rows)
    return list(zip(map(str, answers(outputs, model.labels)), map(float, scores(outputs)), strict=True))
