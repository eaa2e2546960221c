"""The learning loop of one stream: consumes its drift alerts, produces releases and every step it takes.

    watching -> alerted -> collecting (-> waiting) -> training -> evaluating -> released | rejected

A stream without a champion begins at collecting, by itself. A training that may not begin yet, for quiet
hours or a spent budget, is waiting. Alerts that come while a run goes on are of the same cause: they are
answered by it, and may ask it for more (a retrain; not to wait for quiet hours to end).

A first candidate learns from `min_recent` labels since the drift, so that help comes soon. Another follows
once there are twice as many, and so on up to `recent`: in the end the newest model knows all that there is.
After two rejections it is trained from scratch, and while the drift stands not only up to `recent`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from infra.runtime import metrics
from infra.runtime.durable import write
from infra.runtime.log import get_logger
from schemas import codec, topics
from schemas.config import Model, Stream
from schemas.drift import DriftAlert, Response, recovery_id
from schemas.errors import Fatal, Retryable
from schemas.record import Outgoing
from schemas.release import Release, State, Task, Transition
from trainers import datasets, due, folders
from trainers.child import TrainerDied
from trainers.outcome import Job, Outcome
from trainers.rollout.records import begun, superseded
from trainers.runs import Run
from trainers.shared import Reads, Shared
from trainers.succession import announcement, check_new, check_still_wanted

_log = get_logger(__name__)

_FAILURES_BEFORE_RETRAIN: Final = 2
_ATTEMPTS: Final = 2
_POLLS_TO_FOLLOW: Final = 10
"""Another run is less urgent than a first one, and may be waited for for long."""


class Loop:
    """One stream's loop. `alerts` is its queue; `reader` reads its rows."""

    def __init__(self, name: str, stream: Stream, model: Model, shared: Shared, reader: Reads) -> None:
        self.model_name = model.name or name
        self.alerts: asyncio.Queue[DriftAlert] = asyncio.Queue()
        self._name = name
        self._stream = stream
        self._model = model
        self._shared = shared
        self._reader = reader
        self._state = "watching"
        self._first_rows = model.learn.min_labels

    def take(self, stream: Stream) -> None:
        """Learn and release by other settings, from the next step of a run on."""
        before, self._stream = self._model.learn, stream
        if stream.model is not None:
            self._model = stream.model
        # Twice as many were asked for after a rejection: that stays so.
        self._first_rows = self._first_rows * self._model.learn.min_labels // before.min_labels

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
            elif (before := await self._to_follow()) is not None and self.champion is not None:
                now, serving = self._shared.clock.now(), self.champion.version
                await self._patiently(self._shared.runs.begin_again(before, serving, now))

    def _followed(self) -> tuple[Run, datetime, int] | None:
        """Return the newest run if another may follow it: since when, and with how many labels since then."""
        newest = self._shared.runs.newest(self._name)
        if newest is None or newest.alert is None or self.champion is None:
            return None
        over = self._shared.runs.handled(recovery_id(newest.drift))
        rows = due.rows_to_follow(self._model.learn, newest, self.champion.version, over=over)
        return None if rows is None else (newest, newest.alert.since, rows)

    async def _to_follow(self) -> Run | None:
        """Return the newest run if another is to follow it now."""
        if (found := self._followed()) is None:
            return None
        run, since, rows = found
        return run if await self._reader.count(since) >= rows else None

    async def _next_alert(self) -> DriftAlert | None:
        """Wait for an alert; only a moment while there may be rows for a first training, or for another."""
        if self.champion is not None and self._followed() is None:
            return await self.alerts.get()
        looks_every_s = self._shared.poll_s * (1 if self.champion is None else _POLLS_TO_FOLLOW)
        try:
            return await asyncio.wait_for(self.alerts.get(), looks_every_s)
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
            check_still_wanted(outcome.release, self.champion, outcome.replaces)
            check_new(self._shared.home / "releases", outcome.release, self._shared.rolled_back)
            await self._announce(run, outcome)
        except (Fatal, TimeoutError) as error:
            await self._step(
                "rejected", run, str(error) or f"over the budget of {self._model.learn.budget_s:g} s"
            )
        metrics.count_run(self._name, run.state)
        metrics.observe_run(self._name, time.monotonic() - began_s)
        self._hear(run)
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
        """Wait until there are rows enough, then until a training may begin."""
        await self._step("collecting", run, f"{self._needed(since)} rows are needed")
        while not await self._enough(since):
            await self._meanwhile(run)
        told = None
        while (wait := self._wait(run)) is not None:
            if wait != told:
                told = wait
                await self._step("waiting", run, str(wait))
                _log.info("run.waiting", run=run.name, until=wait.until.isoformat(), why=wait.why)
            await self._meanwhile(run)

    def _wait(self, run: Run) -> due.Wait | None:
        began, now = self._shared.runs.trainings(run), self._shared.clock.now()
        return due.wait(self._model.learn, began, now, urgent=run.urgent)

    async def _meanwhile(self, run: Run) -> None:
        """Let time pass, and hear what comes; give up when another model serves by now."""
        await asyncio.sleep(self._shared.poll_s)
        self._hear(run)
        if run.alert and (self.champion is None or run.base not in (0, self.champion.version)):
            raise Fatal("another model serves meanwhile; the drift was seen on an older one")

    def _needed(self, since: datetime | None) -> int:
        return self._first_rows if since is None else self._model.learn.min_recent

    async def _enough(self, since: datetime | None) -> bool:
        """Tell whether there are rows enough, and for a first classifier of at least two labels."""
        if await self._reader.count(since) < self._needed(since):
            return False
        return (
            self._model.task is not Task.CLASSIFICATION
            or self.champion is not None
            or len(await self._reader.labels()) > 1
        )

    async def _train(self, run: Run, since: datetime | None) -> Outcome:
        shared = self._shared
        folder = shared.runs.folder(run)
        async with shared.slot:
            champion = await self._at_hand()
            job = Job(
                home=str(shared.home.absolute()),
                stream=self._name,
                config=self._stream.model_dump_json(),
                run=str(folder),
                alert=run.alert.id if run.alert else None,
                champion=champion,
                fresh=run.retrain or shared.runs.failures(self._name) >= _FAILURES_BEFORE_RETRAIN,
                threads=shared.threads,
            )
            data = await self._reader.dataset(
                self._model.learn, since, alert=job.alert, champion=job.champion
            )
            run.rows, run.trained_at = await self._reader.count(since), shared.clock.now()
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

    async def _at_hand(self) -> Release | None:
        """Return the champion with its folder on this machine, and leave the store's numbers to the store."""
        releases, champion = self._shared.releases, self.champion
        stored = await asyncio.to_thread(releases.stored, self.model_name)
        folders.take(self._shared.home, self.model_name, stored.get(self.model_name, ()))
        return champion and await asyncio.to_thread(releases.near, champion)

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
        if outcome.released:
            release = await asyncio.to_thread(self._shared.releases.publish, release)
            release = begun(release, self.champion, self._stream.rollout, self._shared.clock.now())
            before = self._shared.staged.pop(self.model_name, None)
            if before is not None and before.version != release.version:
                await self._shared.publisher.send(superseded(before, release.version))
        await self._shared.publisher.send(announcement(release))
        if release.state is State.RELEASED:
            kept = self._shared.staged if release.staged else self._shared.champions
            kept[self.model_name] = release
            run.version = release.version
        stage = (f"in {release.rollout.stage}",) if release.staged and release.rollout else ()
        message = "; ".join((*stage, *outcome.reasons))
        await self._step("released" if outcome.released else "rejected", run, message, release.version)
        _log.info(
            "model.released" if outcome.released else "model.rejected",
            model=self.model_name, version=release.version, reasons=outcome.reasons, seconds=outcome.seconds,
        )  # fmt: skip
        self._shared.registrar.wake()

    def _hear(self, run: Run) -> None:
        """Take the alerts that came while this run went on: of the same cause, they are answered by it."""
        while not self.alerts.empty():
            alert = self.alerts.get_nowait()
            if self._worth_answering(alert):
                run.hear(alert)
                self._shared.runs.keep(run)
            self._shared.runs.handle(alert.id)
            _log.info("alert.absorbed", alert=alert.id)

    async def _step(self, state: str, run: Run | None, message: str = "", version: int | None = None) -> None:
        """Publish a transition, then keep the run's state so that a restart goes on from here.

        In this order a crash between the two says a step twice; in the other it would never be said.
        """
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
        if run is not None:
            run.state, run.message = state, message
            self._shared.runs.keep(run)
