"""The learning loop without its worker: consumes alerts and labelled rows, produces releases and rejections.

    watching -> alerted -> collecting -> training -> released | rejected -> watching

The rules are `trainers.loop`'s, and training, export and gate the trainer's (`trainers.pipeline.train`).
It takes no event time, so that a release serves from the next event on.
"""

from pathlib import Path
from time import perf_counter
from typing import Any, Final

from infra.backtest.champion import Past
from infra.backtest.live.store import Store
from schemas.config import Model, Stream
from schemas.drift import DriftAlert, Response
from schemas.errors import Fatal
from schemas.release import Release, Task
from trainers.outcome import Job, Outcome
from trainers.pipeline import train

_FAILURES_BEFORE_RETRAIN: Final = 2


class Learning:
    """One stream's loop. `champion` is the newest release."""

    def __init__(self, name: str, stream: Stream, model: Model, home: Path, store: Store) -> None:
        self._name = name
        self._stream = stream
        self._model = model
        self._home = home
        self._store = store
        self._alert: DriftAlert | None = None
        self._failures = 0
        self.first_rows = model.learn.min_labels
        self.champion: Release | None = None
        self.past = Past()

    def alerted(self, alert: DriftAlert) -> None:
        """Take an alert that the watch raised; one that comes while another is answered is of its cause."""
        asks = not alert.recovered and alert.response is not Response.ALERT
        if asks and self._alert is None and self.champion is not None:
            self._alert = alert

    def step(self, row: int) -> Release | None:
        """Train if there is something to train for and enough to train on; returns what is to be served."""
        alert = self._alert
        if self.champion is not None and alert is None:
            return None
        since = alert.since if alert else None
        if self._store.count(since) < (self._model.learn.min_labels if alert else self.first_rows):
            return None
        if alert is None and self._model.task is not Task.ANOMALY and len(self._store.labels) < 2:
            return None
        self._alert = None
        return self._trained(alert, row)

    def _trained(self, alert: DriftAlert | None, row: int) -> Release | None:
        began = perf_counter()
        entry: dict[str, Any] = {"row": row, "alert": alert.id if alert else ""}
        try:
            data = self._store.dataset(self._model.learn, alert.since if alert else None)
            outcome = train(self._job(alert, row), data)
        except Fatal as error:
            self._rejected(alert, entry | {"version": None, "reasons": [str(error)]})
            return None
        rows = {"labels": len(data.recent), "replayed": len(data.old)}
        seconds = round(perf_counter() - began, 3)
        self.past.trainings.append(entry | {"version": outcome.release.version, **rows, "seconds": seconds})
        return self._announced(alert, outcome, entry)

    def _announced(self, alert: DriftAlert | None, outcome: Outcome, entry: dict[str, Any]) -> Release | None:
        told = entry | {"version": outcome.release.version, "reasons": list(outcome.reasons)}
        if not outcome.released:
            self._rejected(alert, told)
            return None
        self._failures = 0
        self.champion = outcome.release
        self.past.releases.append(told)
        return outcome.release

    def _rejected(self, alert: DriftAlert | None, entry: dict[str, Any]) -> None:
        self.past.rejections.append(entry)
        if alert is None:  # a first model is tried again when there is twice as much to learn from
            self.first_rows = 2 * max(self.first_rows, self._store.count(None))
        else:
            self._failures += 1

    def _job(self, alert: DriftAlert | None, row: int) -> Job:
        run = self._home / "trainer" / "runs" / f"row-{row}"
        run.mkdir(parents=True, exist_ok=True)
        retrain = alert is not None and alert.response is Response.RETRAIN
        return Job(
            home=str(self._home),
            stream=self._name,
            config=self._stream.model_dump_json(),
            run=str(run),
            alert=alert.id if alert else None,
            champion=self.champion,
            fresh=retrain or self._failures >= _FAILURES_BEFORE_RETRAIN,
        )
