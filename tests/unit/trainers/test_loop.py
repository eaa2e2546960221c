"""The learning loop with a clock of the test's own and everything in memory but the training itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.backtest.live.store import Store
from infra.runtime.clock import ManualClock
from infra.runtime.releases import Releases
from schemas import codec, topics
from schemas.config import Learn, Rollout, Stream
from schemas.drift import DriftAlert, Response, Severity, Signal
from schemas.record import Outgoing
from schemas.release import Release, Transition
from tests.unit.trainers import samples
from tests.waiting import aeventually
from trainers import job, pipeline
from trainers.dataset import Dataset
from trainers.loop import Loop
from trainers.outcome import Job
from trainers.registry import Registrar
from trainers.runs import Runs
from trainers.shared import Shared

NINE = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
DRIFTED_AT = samples.START + timedelta(seconds=1000)


class Rows:
    """The stream's labelled rows, in memory."""

    def __init__(self) -> None:
        self.store = Store()

    def add(self, rows: list[samples.Labelled]) -> None:
        """Take labelled events."""
        for event, label in rows:
            self.store.add(event, event.raw, label)

    async def count(self, since: datetime | None) -> int:
        """Return how many rows there are since a moment."""
        return self.store.count(since)

    async def labels(self) -> list[str]:
        """Return the labels there are."""
        return sorted(self.store.labels)

    async def dataset(
        self,
        learn: Learn,
        since: datetime | None,
        *,
        alert: str | None = None,
        champion: Release | None = None,
    ) -> Dataset:
        """Return what to train on."""
        return self.store.dataset(learn, since)


class Here:
    """Trains in this process, on a thread."""

    async def start(self) -> None:
        """Be ready, as always."""

    async def train(self, run: Path, on_step: Callable[[str], Awaitable[None]], limit_s: float) -> Path:
        """Train a run folder within `limit_s` and return the path of its outcome."""
        async with asyncio.timeout(limit_s):
            return await asyncio.to_thread(job.perform, run, lambda _step: None, pipeline)


class World:
    """One stream and its loop; `steps` are the transitions that it published."""

    def __init__(self, home: Path, **learn: Any) -> None:
        section = {"learn": {"min_labels": 100, "epochs": 5, **learn}}
        self.stream = Stream.model_validate({"kind": "sensor", "model": section, "gate": {"p99_ms": 500}})
        self.clock = ManualClock(NINE)
        self.rows = Rows()
        self.steps: list[Transition] = []
        self.shared = Shared(
            home,
            self.clock,
            self,
            Runs(home),
            Here(),
            Registrar(home),
            1,
            Releases(home / "releases"),
            poll_s=0.01,
        )
        self.loop: Loop

    async def send(self, record: Outgoing, /) -> None:
        """Keep a transition."""
        if record.topic == topics.LOOP.name:
            self.steps.append(codec.decode(record.value or b"", Transition))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the loop as a worker that starts now would: it knows what is on disk and what serves."""
        shared = replace(self.shared, runs=Runs(self.shared.home), slot=asyncio.Lock())
        model = self.stream.model
        assert model is not None
        self.shared, self.loop = shared, Loop("host", self.stream, model, shared, self.rows)
        task = asyncio.create_task(self.loop.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):  # it would go on for ever
                await task

    async def until(self, state: str, count: int = 1) -> Transition:
        """Wait for the `count`th transition into a state."""

        async def found() -> list[Transition]:
            at = [step for step in self.steps if step.state == state]
            return at[count - 1 : count]

        return (await aeventually(found, timeout_s=60, every_s=0.01))[0]

    async def quietly(self, polls: int = 20) -> None:
        """Let the loop look around so many times."""
        for _ in range(polls):
            await asyncio.sleep(self.shared.poll_s)

    async def serving(self) -> None:
        """Train the first model, then let the machine drift."""
        self.rows.add(samples.readings(1, 200))
        await self.until("watching")
        self.rows.add(samples.readings(2, 300, shift=0.8, after_s=1000))

    def states(self) -> list[str]:
        """Return the states so far."""
        return [step.state for step in self.steps]

    def jobs(self) -> list[Job]:
        """Return the jobs that an alert asked for."""
        runs = self.shared.home / "trainer" / "runs"
        found = [msgspec.json.decode(path.read_bytes(), type=Job) for path in runs.glob("*/job.json")]
        return sorted((job for job in found if job.alert), key=lambda job: job.run)


def alert(
    id: str, severity: Severity = Severity.WARNING, response: Response = Response.INCREMENT
) -> DriftAlert:
    """Return an alert on the errors of version 1."""
    return DriftAlert(
        id=id, stream="host", model="host", version=1, signal=Signal.ERROR, detector="ensemble",
        statistic=0.3, threshold=0.1, since=DRIFTED_AT, window_from=DRIFTED_AT, window_to=DRIFTED_AT,
        observations=100, severity=severity, response=response, summary="error rose", raised_at=NINE,
    )  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder."""
    return tmp_path


async def test_a_training_waits_for_quiet_hours_to_end(home: Path) -> None:
    """It says until when; at their end it begins, and the release follows."""
    world = World(home, quiet="10:00-18:00")
    async with world.running():
        await world.serving()
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a"))
        waiting = await world.until("waiting")
        assert (waiting.previous, waiting.alert) == ("collecting", "a")
        assert waiting.message == "these are quiet hours, 10:00-18:00; it waits until 2026-03-14 18:00:00 UTC"
        world.clock.advance(7 * 3600 + 3599)
        await world.quietly()
        assert world.states()[-1] == "waiting"
        world.clock.advance(1)
        await world.until("watching", 2)
    assert world.states()[-4:] == ["waiting", "training", "released", "watching"]
    assert world.loop.champion is not None
    assert world.loop.champion.version == 2


async def test_other_hours_end_the_waiting_at_once(home: Path) -> None:
    """Settings that change hold for the run in hand, too: its next look at the clock knows them."""
    world = World(home, quiet="10:00-18:00")
    async with world.running():
        await world.serving()
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a"))
        await world.until("waiting")
        world.loop.take(World(home, quiet="", recent=150).stream)
        await world.until("watching", 2)
    (done,) = world.jobs()
    model = Stream.model_validate_json(done.config).model
    assert model is not None
    assert model.learn.recent == 150


async def test_a_critical_alert_does_not_wait(home: Path) -> None:
    """Nor does a run that waits already, once a critical alert of its cause comes; what it asks for holds."""
    world = World(home, quiet="10:00-18:00")
    async with world.running():
        await world.serving()
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a"))
        await world.until("waiting")
        world.loop.alerts.put_nowait(alert("b", Severity.CRITICAL, Response.RETRAIN))
        released = await world.until("released", 2)
        assert released.alert == "a"
        await world.until("watching", 2)
    assert {world.shared.runs.handled(id) for id in "ab"} == {True}
    assert [job.fresh for job in world.jobs()] == [True]


async def test_a_run_beyond_the_budget_waits_for_the_next_day(home: Path) -> None:
    """The first training spent the day's one run: the drift is answered a day later, not forgotten."""
    world = World(home, budget_runs_per_day=1)
    async with world.running():
        await world.serving()
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a", Severity.CRITICAL))
        waiting = await world.until("waiting")
        assert (
            waiting.message == "the budget of 1 runs a day is spent; it waits until 2026-03-15 09:00:00 UTC"
        )
        world.clock.advance(23 * 3600 - 1)
        await world.quietly()
        assert world.states()[-1] == "waiting"
        world.clock.advance(1)
        assert (await world.until("released", 2)).alert == "a"


async def test_a_restart_finds_the_run_that_waits(home: Path) -> None:
    """The next worker waits on with the same run, whose alert comes again, and trains once."""
    world = World(home, quiet="10:00-18:00")
    async with world.running():
        await world.serving()
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a"))
        await world.until("waiting")
    async with world.running():
        world.loop.alerts.put_nowait(alert("a"))
        await world.until("waiting", 2)
        await world.quietly()
        assert "training" not in world.states()[4:]
        world.clock.advance(8 * 3600)
        await world.until("watching", 2)
        await world.quietly()
    assert world.states().count("released") == 2
    assert [run.state for run in world.shared.runs.all("host")] == ["released", "released"]


async def test_a_drift_on_an_older_model_is_not_waited_for(home: Path) -> None:
    """Somebody promotes another version while a run waits: it is given up, and no candidate failed."""
    world = World(home, quiet="10:00-18:00")
    async with world.running():
        await world.serving()
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a"))
        await world.until("waiting")
        champion = world.loop.champion
        assert champion is not None
        world.shared.champions["host"] = msgspec.structs.replace(champion, version=7)
        assert "another model serves" in (await world.until("rejected")).message
        await world.until("watching", 2)
    assert world.shared.runs.failures("host") == 0


async def test_a_release_is_followed_up_when_twice_as_much_is_known(home: Path) -> None:
    """A few labels brought version 2; twice as many tune it again, after a restart too."""
    world = World(home)
    async with world.running():
        await world.serving()
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a"))
        await world.until("watching", 2)
        await world.quietly(30)
        assert world.states()[-1] == "watching"
    world.clock.advance(3600)
    world.rows.add(samples.readings(3, 300, shift=0.8, after_s=2000))
    async with world.running():
        await world.until("watching", 3)
    last = world.shared.runs.newest("host")
    assert last is not None
    assert (last.name, last.attempt, last.base, last.rows) == ("host-a-again-2", 2, 2, 600)
    assert [job.champion.version for job in world.jobs() if job.champion] == [1, 2]


async def test_after_a_rollback_the_loop_learns_on_from_the_version_before(home: Path) -> None:
    """The drift stands: with twice the labels another candidate is tuned, from what serves again."""
    world = World(home)
    async with world.running():
        await world.serving()
        first = world.loop.champion
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a"))
        await world.until("watching", 2)
        second = world.loop.champion
        assert first is not None
        assert second is not None
        assert second.rollout is not None
        assert (second.rollout.against, second.rollout.against_sha256) == (1, first.sha256)
        world.shared.champions["host"] = first
        world.shared.rolled_back["host"] = {2}
        world.shared.runs.take_back("host", 2)
        world.rows.add(samples.readings(3, 300, shift=0.8, after_s=2000))
        await world.until("watching", 3)
    runs = world.shared.runs.all("host")
    assert [(run.state, run.version, run.base) for run in runs[1:]] == [
        ("rolled_back", 2, 1),
        ("released", 3, 1),
    ]
    assert [job.champion.version for job in world.jobs() if job.champion] == [1, 1]


async def test_a_staged_release_leaves_the_champion_in_place(home: Path) -> None:
    """With a canary the loop says so, and goes on comparing with what serves."""
    world = World(home)
    world.stream = world.stream.model_copy(update={"rollout": Rollout(canary=0.1)})
    async with world.running():
        await world.serving()
        world.clock.advance(3600)
        world.loop.alerts.put_nowait(alert("a"))
        step = await world.until("released", 2)
        await world.until("watching", 2)
    assert step.message.startswith("in canary")
    assert world.loop.champion is not None
    assert world.loop.champion.version == 1
    assert world.shared.staged["host"].version == 2
