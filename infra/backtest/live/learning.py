"""The learning loop without its worker: consumes alerts and labelled rows, produces releases and rejections.

    watching -> alerted -> collecting (-> waiting) -> training -> released | rejected -> watching

The rules are `trainers.loop`'s, with its runs and limits (`trainers.runs`, `trainers.due`); training, export
and gate are the trainer's (`trainers.pipeline.train`). As there, nothing is rolled back by itself. The clock
is event time: budgets and quiet hours are counted in it, and a training takes some of it, in which the model
before goes on answering.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from infra.backtest.champion import Past
from infra.backtest.live.store import Store
from schemas.config import Model, Stream
from schemas.drift import DriftAlert, Response, recovery_id
from schemas.errors import Fatal
from schemas.release import Release, Task
from trainers import due
from trainers.outcome import Job, Outcome
from trainers.pipeline import train
from trainers.runs import Run, Runs
from trainers.succession import succeeding

_FAILURES_BEFORE_RETRAIN: Final = 2


@dataclass(frozen=True, slots=True)
class _Training:
    """A training in event time: over at `ends`, with an outcome, or refused for a reason."""

    run: Run
    ends: datetime
    entry: dict[str, Any]
    outcome: Outcome | None = None
    refused: str = ""


class Learning:
    """One stream's loop. `champion` is the newest release.

    A training takes `training_s` of event time; None is what it takes on this machine.
    """

    def __init__(self, name: str, stream: Stream, model: Model, home: Path, store: Store) -> None:
        self._name = name
        self._stream = stream
        self._model = model
        self._home = home
        self._store = store
        self._runs = Runs(home)
        self._run: Run | None = None
        self._before: Run | None = None
        self._training: _Training | None = None
        self._wait: due.Wait | None = None
        self.training_s: float | None = None
        self.first_rows = model.learn.min_labels
        self.champion: Release | None = None
        self.past = Past()

    def alerted(self, alert: DriftAlert) -> None:
        """Take an alert that the watch raised; one that comes while another is answered is of its cause."""
        if alert.recovered:
            self._runs.handle(alert.id)
        elif alert.response is Response.ALERT or not self._of_champion(alert):
            return
        elif self._run is not None:
            self._run.hear(alert)
        else:
            self._run = self._runs.begin(self._name, alert, alert.raised_at)

    def step(self, row: int, now: datetime) -> Release | None:
        """Go on at an event time: train if it is due, announce what is over; returns what is to be served."""
        if self._training is None:
            run = self._run = self._run or self._begun(now)
            if run is None or not self._enough(run) or self._waits(run, row, now):
                return None
            self._training = self._trained(run, row, now)
        return self._announced(self._training, row) if now >= self._training.ends else None

    def _of_champion(self, alert: DriftAlert) -> bool:
        return self.champion is not None and alert.version in (0, self.champion.version)

    def _begun(self, now: datetime) -> Run | None:
        """Begin a first training, or one that follows the one before for the same drift."""
        if self.champion is None:
            return self._runs.begin(self._name, None, now) if self._enough(None) else None
        before = self._before
        if before is None or before.alert is None:
            return None
        over = self._runs.handled(recovery_id(before.drift))
        rows = due.rows_to_follow(self._model.learn, before, self.champion.version, over=over)
        if rows is None or self._store.count(before.alert.since) < rows:
            return None
        return self._runs.begin_again(before, self.champion.version, now)

    def _enough(self, run: Run | None) -> bool:
        if run is not None and run.alert is not None:
            return self._store.count(run.alert.since) >= self._model.learn.min_recent
        if self._store.count(None) < self.first_rows:
            return False
        return self._model.task is Task.ANOMALY or len(self._store.labels) > 1

    def _waits(self, run: Run, row: int, now: datetime) -> bool:
        """Tell whether the training is put off; that it is now put off is a figure of the backtest."""
        if self._wait is not None and now < self._wait.until and not run.urgent:
            return True
        before = self._wait
        self._wait = due.wait(self._model.learn, self._runs.trainings(run), now, urgent=run.urgent)
        if self._wait is not None and self._wait != before:
            self.past.waits.append({"row": row, "until": self._wait.until.isoformat(), "why": self._wait.why})
        return self._wait is not None

    def _trained(self, run: Run, row: int, now: datetime) -> _Training:
        """Train; what it finds is known once the training is over in event time."""
        began = perf_counter()
        since = run.alert.since if run.alert else None
        run.rows, run.trained_at, run.state = self._store.count(since), now, "training"
        self._runs.keep(run)
        entry: dict[str, Any] = {"alert": run.alert.id if run.alert else ""}
        outcome, refused, rows = None, "", {"labels": run.rows, "replayed": 0}
        try:
            data = self._store.dataset(self._model.learn, since)
            rows = {"labels": len(data.recent), "replayed": len(data.old)}
            outcome = train(self._job(run), data)
        except Fatal as error:
            refused = str(error)
        seconds = perf_counter() - began
        entry["version"] = outcome.release.version if outcome else None
        self.past.trainings.append({"row": row, **entry, **rows, "seconds": round(seconds, 3)})
        takes = timedelta(seconds=seconds if self.training_s is None else self.training_s)
        return _Training(run, now + takes, entry, outcome, refused)

    def _announced(self, training: _Training, row: int) -> Release | None:
        run, outcome = training.run, training.outcome
        self._training, self._run, self._before = None, None, run
        released = outcome is not None and outcome.released
        run.state = "released" if released else "rejected"
        run.version = outcome.release.version if outcome and released else 0
        self._runs.keep(run)
        told = {"row": row, **training.entry}
        told["reasons"] = list(outcome.reasons) if outcome else [training.refused]
        if outcome is not None and released:
            self.champion = succeeding(outcome.release, self.champion)
            self.past.releases.append(told)
            return self.champion
        self.past.rejections.append(told)
        if run.alert is None:  # a first model is tried again when there is twice as much to learn from
            self.first_rows = 2 * max(self.first_rows, self._store.count(None))
        return None

    def _job(self, run: Run) -> Job:
        return Job(
            home=str(self._home),
            stream=self._name,
            config=self._stream.model_dump_json(),
            run=str(self._runs.folder(run)),
            alert=run.alert.id if run.alert else None,
            champion=self.champion,
            fresh=run.retrain or self._runs.failures(self._name) >= _FAILURES_BEFORE_RETRAIN,
        )
