"""The learning loop of one stream: consumes its drift alerts, produces releases and every step it takes.

    watching -> alerted -> collecting -> training -> evaluating -> released | rejected -> watching

A stream without a champion begins at collecting, by itself. Alerts that come while a training runs are of the
same cause: they are answered by that training. While a drift stands whose candidate was rejected, another is
trained once twice as much is known of it; after two rejections, from scratch.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from infra.runtime import metrics
from infra.runtime.clock import Clock
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from schemas import codec, topics
from schemas.config import Model, Stream
from schemas.drift import DriftAlert, Response, recovery_id
from schemas.errors import Fatal, Retryable
from schemas.record import Outgoing
from schemas.release import Release, State, Task, Transition
from trainers import datasets
from trainers.child import Child, TrainerDied
from trainers.job import write
from trainers.outcome import Job, Outcome
from trainers.reader import Reader
from trainers.registry import Registrar
from trainers.runs import Run, Runs

_log = get_logger(__name__)

_POLL_S: Final = 1.0
_FAILURES_BEFORE_RETRAIN: Final = 2
_ATTEMPTS: Final = 2


@dataclass
class Shared:
    """What the loops of all streams use together. `slot` lets one training run at a time.

    `releases_read` is the offset of the newest release record taken into `champions`.
    """

    home: Path
    clock: Clock
    publisher: Publisher
    runs: Runs
    child: Child
    registrar: Registrar
    threads: int
    slot: asyncio.Lock = field(default_factory=asyncio.Lock)
    champions: dict[str, Release] = field(default_factory=dict)
    releases_read: int = -1


class Loop:
    """One stream's loop. `alerts` is its queue; `reader` reads its rows."""

    def __init__(self, name: str, stream: Stream, model: Model, shared: Shared, reader: Reader) -> None:
        self.model_name = model.name or name
        self.alerts: asyncio.Queue[DriftAlert] = asyncio.Queue()
        self._name = name
        self._stream = stream
        self._model = model
        self._shared = shared
        self._reader = reader
        self._state = "watching"
        self._first_rows = model.learn.min_labels

    @property
    def champion(self) -> Release | None:
        """Return the release that serving follows, if there is one."""
        return self._shared.champions.get(self.model_name)

    async def run(self) -> None:
        """Go on for ever: take up what a crash interrupted, then answer alerts."""
        interrupted = self._shared.runs.unfinished(self._name)
        if interrupted is not None:
            _log.info("run.resumed", run=interrupted.name, state=interrupted.state)
            await self._patiently(interrupted)
        while True:
            alert = await self._next_alert()
            if alert is not None:
                if self._worth_answering(alert):
                    await self._patiently(
                        self._shared.runs.begin(self._name, alert, self._shared.clock.now())
                    )
                self._shared.runs.handle(alert.id)
            elif self.champion is None and await self._enough(None):
                await self._patiently(self._shared.runs.begin(self._name, None, self._shared.clock.now()))
            elif (rejected := self._unanswered()) is not None and await self._knows_more(rejected):
                now, attempt = self._shared.clock.now(), rejected.attempt + 1
                await self._patiently(self._shared.runs.begin(self._name, rejected.alert, now, attempt))

    def _unanswered(self) -> Run | None:
        """Return the newest run if it was rejected and its drift, of the model that serves, stands."""
        newest = self._shared.runs.newest(self._name)
        if newest is None or newest.alert is None or newest.state != "rejected" or self.champion is None:
            return None
        over = self._shared.runs.handled(recovery_id(newest.alert.id))
        return None if over or newest.alert.version not in (0, self.champion.version) else newest

    async def _knows_more(self, rejected: Run) -> bool:
        """Tell whether twice as many labels since the drift are known as when a candidate was rejected."""
        since = rejected.alert.since if rejected.alert else None
        return await self._reader.count(since) >= 2 * max(rejected.rows, self._model.learn.min_labels)

    async def _next_alert(self) -> DriftAlert | None:
        """Wait for an alert; only a moment while there may be rows for a first training, or for another."""
        if self.champion is not None and self._unanswered() is None:
            return await self.alerts.get()
        try:
            return await asyncio.wait_for(self.alerts.get(), _POLL_S)
        except TimeoutError:
            return None

    def _worth_answering(self, alert: DriftAlert) -> bool:
        """Tell whether an alert asks for a training, of the model that serves now, for the first time."""
        if self._shared.runs.handled(alert.id) or alert.recovered or alert.response is Response.ALERT:
            return False
        return self._of_champion(alert)

    def _of_champion(self, alert: DriftAlert) -> bool:
        if self.champion is None or (alert.version and alert.version != self.champion.version):
            serving = self.champion.version if self.champion else None
            _log.info("alert.ignored", alert=alert.id, of_version=alert.version, serving=serving)
            return False
        return True

    async def _patiently(self, run: Run) -> None:
        """Carry a run to its end, however often the surroundings fail."""
        delay_s = 1.0
        while True:
            try:
                return await self._carry_out(run)
            except Retryable as error:
                _log.warning("run.delayed", run=run.name, reason=str(error), retry_in_s=delay_s)
                await asyncio.sleep(delay_s)
                delay_s = min(30.0, 2 * delay_s)

    async def _carry_out(self, run: Run) -> None:
        began_s = time.monotonic()
        since = run.alert.since if run.alert else None
        try:
            outcome = self._finished_before(run)
            if outcome is None:
                if run.alert and self._state == "watching":
                    await self._step("alerted", run, run.alert.summary)
                await self._collect(run, since)
                outcome = await self._train(run, since)
            await self._announce(run, outcome)
        except (Fatal, TimeoutError) as error:
            await self._step(
                "rejected", run, str(error) or f"over the budget of {self._model.learn.budget_s:g} s"
            )
        metrics.count_run(self._name, run.state)
        metrics.observe_run(self._name, time.monotonic() - began_s)
        self._absorb()
        if run.alert:
            self._shared.runs.handle(run.alert.id)
        elif self.champion is None:
            # A first model that was rejected is tried again when there is twice as much to learn from.
            self._first_rows = 2 * max(self._first_rows, await self._reader.count(None))
        await self._step("watching", None)

    def _finished_before(self, run: Run) -> Outcome | None:
        """Return the outcome of a run that was interrupted between its end and its announcement."""
        path = self._shared.runs.folder(run) / "outcome.json"
        return msgspec.json.decode(path.read_bytes(), type=Outcome) if path.is_file() else None

    async def _collect(self, run: Run, since: datetime | None) -> None:
        """Wait until there are rows enough; give up when another model serves meanwhile."""
        await self._step("collecting", run, f"{self._needed(since)} rows are needed")
        while not await self._enough(since):
            await asyncio.sleep(_POLL_S)
            if run.alert and not self._of_champion(run.alert):
                raise Fatal("another model serves meanwhile; the drift was seen on an older one")
        if (
            self._shared.runs.within_a_day(self._name, self._shared.clock.now())
            > self._model.learn.budget_runs_per_day
        ):
            raise Fatal(f"the budget of {self._model.learn.budget_runs_per_day} runs a day is spent")

    def _needed(self, since: datetime | None) -> int:
        return self._first_rows if since is None else self._model.learn.min_labels

    async def _enough(self, since: datetime | None) -> bool:
        """Tell whether there are rows enough, and for a first classifier of at least two labels."""
        if await self._reader.count(since) < self._needed(since):
            return False
        return (
            self._model.task is Task.ANOMALY
            or self.champion is not None
            or len(await self._reader.labels()) > 1
        )

    async def _train(self, run: Run, since: datetime | None) -> Outcome:
        shared = self._shared
        folder = shared.runs.folder(run)
        async with shared.slot:
            retrain = run.alert is not None and run.alert.response is Response.RETRAIN
            job = Job(
                home=str(shared.home.absolute()),
                stream=self._name,
                config=self._stream.model_dump_json(),
                run=str(folder),
                alert=run.alert.id if run.alert else None,
                champion=self.champion,
                fresh=retrain or shared.runs.failures(self._name) >= _FAILURES_BEFORE_RETRAIN,
                threads=shared.threads,
            )
            data = await self._reader.dataset(
                self._model.learn, since, alert=job.alert, champion=job.champion
            )
            run.rows = await self._reader.count(since)
            write(folder / "dataset.json", data)
            await asyncio.to_thread(datasets.prune, shared.home, self._name, self._model.learn.keep_datasets)
            write(folder / "job.json", job)
            kind = (
                "from scratch"
                if job.fresh or job.champion is None
                else f"from version {job.champion.version}"
            )
            await self._step(
                "training", run, f"{len(data.recent)} recent and {len(data.old)} old rows, {kind}"
            )

            async def on_step(step: str) -> None:
                if step == "evaluating":
                    await self._step("evaluating", run)

            path = await self._attempt(folder, on_step)
        return msgspec.json.decode(path.read_bytes(), type=Outcome)

    async def _attempt(self, folder: Path, on_step: Callable[[str], Awaitable[None]]) -> Path:
        """Train; start once more if the process dies, then blame the run."""
        for _ in range(_ATTEMPTS):
            try:
                return await self._shared.child.train(folder, on_step, self._model.learn.budget_s)
            except TrainerDied as error:
                _log.warning("training.died", run=folder.name, reason=str(error))
        raise Fatal(f"the training process died {_ATTEMPTS} times; is the machine short of memory?")

    async def _announce(self, run: Run, outcome: Outcome) -> None:
        """Publish a release under its model's key, a rejection under `model/version`, then the transition."""
        release = outcome.release
        key = self.model_name if outcome.released else f"{self.model_name}/{release.version}"
        await self._shared.publisher.send(Outgoing(topics.RELEASES.name, key.encode(), codec.encode(release)))
        if release.state is State.RELEASED:
            self._shared.champions[self.model_name] = release
        message = "; ".join(outcome.reasons)
        await self._step("released" if outcome.released else "rejected", run, message, release.version)
        _log.info(
            "model.released" if outcome.released else "model.rejected",
            model=self.model_name, version=release.version, reasons=outcome.reasons, seconds=outcome.seconds,
        )  # fmt: skip
        self._shared.registrar.wake()

    def _absorb(self) -> None:
        """Answer the alerts that came while this run went on: they are of the same cause."""
        while not self.alerts.empty():
            alert = self.alerts.get_nowait()
            self._shared.runs.handle(alert.id)
            _log.info("alert.absorbed", alert=alert.id)

    async def _step(self, state: str, run: Run | None, message: str = "", version: int | None = None) -> None:
        """Publish a transition, and keep the run's state so that a restart goes on from here."""
        if run is not None:
            run.state, run.message = state, message
            self._shared.runs.keep(run)
        transition = Transition(
            stream=self._name,
            model=self.model_name,
            state=state,
            previous=self._state,
            alert=run.alert.id if run and run.alert else None,
            version=version,
            message=message,
            at=self._shared.clock.now(),
        )
        self._state = state
        await self._shared.publisher.send(
            Outgoing(topics.LOOP.name, self._name.encode(), codec.encode(transition))
        )
