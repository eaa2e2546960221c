"""What goes into a training and what comes out: the records of a run folder, read without importing torch."""

import msgspec

from schemas.config import Model, Stream
from schemas.errors import Fatal
from schemas.release import Release
from trainers.slices import Slice


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to train: the stream's configuration as JSON, what to continue from, and who asked.

    `fresh` forgets the champion's head (a full retrain); the champion is still what it must beat.
    """

    home: str
    stream: str
    config: str
    run: str
    alert: str | None = None
    champion: Release | None = None
    fresh: bool = False
    threads: int = 1

    @property
    def model(self) -> str:
        """Return the model's name."""
        section = self.settings.model
        return (section.name if section else "") or self.stream

    @property
    def learner(self) -> Model:
        """Return the stream's model section.

        Raises:
            Fatal: the stream has none.
        """
        section = self.settings.model
        if section is None:
            raise Fatal(f"stream {self.stream!r} has no model section, so there is nothing to train")
        return section

    @property
    def settings(self) -> Stream:
        """Return the stream's configuration."""
        return Stream.model_validate_json(self.config)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a job: the record to publish, the verdict, the loss curve, seconds per step.

    `reasons` are all that speak against a rejected candidate; `slices` are where it is weakest.
    `variants` counts the rows that augmentation made of each class. A release that is an earlier version,
    brought back, names in `replaces` the version that it was judged by.
    """

    release: Release
    released: bool
    reasons: tuple[str, ...]
    metrics: dict[str, float]
    slices: list[Slice] = []
    variants: dict[str, int] = {}
    loss: list[float] = []
    validation_loss: list[float] = []
    learning_rate: float = 0.0
    seconds: dict[str, float] = {}
    replaces: int | None = None
