"""The baseline that is always retrained: consumes labelled rows, produces the answers of a model made anew.

At regular intervals, drift or none, and without a gate: what a nightly job would serve.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from infra.backtest.live.service import judged, sharing
from infra.backtest.live.store import Store
from schemas.clean import Clean
from schemas.config import Model as Section
from schemas.config import Stream
from schemas.errors import Fatal
from trainers.candidate import augmented, tuned
from trainers.encoder import Encoder
from trainers.memory import Memory
from trainers.model import Model
from trainers.outcome import Job
from trainers.profile import Profile


class Retrained:
    """Trained from scratch on the newest rows at every `every`-th label; the first time with the champion."""

    def __init__(self, name: str, stream: Stream, section: Section, home: Path, every: int) -> None:
        self._job = Job(
            home=str(home),
            stream=name,
            config=stream.model_dump_json(),
            run=str(home / "trainer" / "runs" / "retrained"),
            fresh=True,
        )
        self._learn = section.learn
        self._every = every
        self._next = 0
        self._memory = Memory()
        self._model: Model | None = None

    def answer(self, events: Sequence[Clean]) -> list[str]:
        """Answer events; nothing while there is no model."""
        if self._model is None:
            return [""] * len(events)
        return [label for label, _ in judged(self._model, events)]

    def learn(self, store: Store, encoders: dict[str, Encoder]) -> None:
        """Train if it is time; what cannot be trained on leaves the model as it is."""
        if store.count(None) < self._next:
            return
        self._next = store.count(None) + self._every
        Path(self._job.run).mkdir(parents=True, exist_ok=True)
        try:
            data = augmented(self._job, store.dataset(self._learn, None, self._memory))
            model, _ = tuned(self._job, data, None, time.monotonic() + 600.0, Profile(lambda _step: None))
        except Fatal:
            return
        self._model = sharing(model, encoders)
