"""Releases on trial against the real broker and ClickHouse: what is worse goes back, whoever dies."""

import asyncio
import contextlib
import itertools
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.cli.announced import what_serves
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load
from infra.runtime.warehouse import Warehouse
from schemas import codec, topics
from schemas.clean import Clean
from schemas.drift import DriftAlert, Signal
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind, Outgoing
from schemas.release import Release, State, Swap, Task, Transition
from schemas.rollout import By, RolloutStage, within
from schemas.shadow import Shadow
from tests.installation import environment_of, start_worker
from tests.unit.serving.releases import LABELS, folder_of, lay_out, reseal, sensor
from tests.waiting import aeventually
from trainers.rollout.records import begun
from trainers.succession import announcement

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

CONFIG = """
topic_prefix = "{name}."
database = "{name}"
[streams.host]
kind = "sensor"
[streams.host.model]
[streams.host.gate]
p99_ms = 1000
[streams.host.rollout]
"""
WHEN = datetime(2026, 3, 4, tzinfo=UTC)
SWAPPED = (LABELS[1], LABELS[0], *LABELS[2:])
WINDOW_S = 120.0


class World:
    """An installation with workers as processes, a stream of readings, and a truth about each of them."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.settings: Settings = load(environment)
        self.events: list[Clean] = []
        self._environment = environment
        self._folder = folder
        self._workers: list[subprocess.Popen[bytes]] = []
        self._truth: dict[str, str] = {}
        self._numbers = itertools.count()

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        log = self._folder / f"{name}.{len(self._workers)}.log"
        self._workers.append(start_worker(name, self._environment, log))
        return self._workers[-1]

    def end(self) -> None:
        """End every worker that is left."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
            worker.wait()

    def release(self, version: int, seed: int, labels: tuple[str, ...] = LABELS) -> Release:
        """Lay out a release; with other `labels` it is the planted bad one, which calls one class another."""
        made = lay_out(
            self.settings.releases, sensor(seed, Task.CLASSIFICATION), model="host", version=version,
            parent=version - 1 or None, labels=labels,
        )  # fmt: skip
        renamed = dict(zip(LABELS, labels, strict=True))
        golden = msgspec.json.decode((folder_of(made) / "golden.json").read_bytes())
        golden["labels"] = [renamed[label] for label in golden["labels"]]
        return reseal(made, "golden.json", codec.encode(golden))

    async def announce(self, release: Release, serving: Release | None) -> Release:
        """Announce a release as the learning loop does."""
        told = begun(release, serving, self.settings.config.streams["host"].rollout, datetime.now(UTC))
        async with Publisher(self.settings) as publisher:
            await publisher.send(announcement(told))
        return told

    async def publish(self, count: int) -> None:
        """Publish so many clean events."""
        fresh = [_reading(next(self._numbers)) for _ in range(count)]
        async with Publisher(self.settings) as publisher:
            await publisher.send_all(
                [Outgoing(topics.CLEAN.name, event.source.encode(), codec.encode(event)) for event in fresh]
            )
        self.events += fresh

    async def label(self, truths: dict[str, str]) -> None:
        """Say the truth about events of which it was not said yet, the newest first."""
        fresh = [e for e in reversed(self.events) if e.id in truths and e.id not in self._truth]
        labels = [
            Label(stream="host", source=e.source, id=e.id, label=truths[e.id], labelled_at=datetime.now(UTC))
            for e in fresh
        ]
        self._truth |= {label.id: label.label for label in labels}
        async with Publisher(self.settings) as publisher:
            await publisher.send_all(
                [Outgoing(topics.LABELS.name, one.source.encode(), codec.encode(one)) for one in labels]
            )

    async def read(self, topic: topics.Topic, contract: Any) -> list[Any]:
        """Read a topic whole, committed records only."""
        records = follow(self.settings, [topic], stop_at_end=True)
        return [codec.decode(record.value or b"", contract) async for record in records]

    async def serving(self) -> Release:
        """Return what `models.releases` says is to serve."""
        found = [
            r async for r in follow(self.settings, [topics.RELEASES], stop_at_end=True) if r.key == b"host"
        ]
        return codec.decode(found[-1].value or b"", Release)

    async def flow(
        self, truth: Callable[[Clean], str], until: Callable[[], Any], timeout_s: float = 90.0
    ) -> Any:
        """Let events and, after their answers, labels flow until a condition holds."""

        async def round_() -> Any:
            await self.publish(100)
            await self.answered()
            await self.label({event.id: truth(event) for event in self.events})
            return await until()

        return await aeventually(round_, timeout_s, 0.1)

    async def answered(self) -> list[Prediction]:
        """Wait until every event has its prediction, and return all: exactly one each."""

        async def all_() -> list[Prediction]:
            found = await self.read(topics.PREDICTIONS, Prediction)
            return found if len(found) >= len(self.events) else []

        found: list[Prediction] = await aeventually(all_, 60.0, 0.1)
        assert Counter(p.id for p in found) == Counter(event.id for event in self.events)
        return found

    def versions(self, predictions: list[Prediction], events: int) -> set[int]:
        """Return which versions answered the newest events."""
        newest = {event.id for event in self.events[-events:]}
        return {p.version for p in predictions if p.id in newest}

    async def swapped(self, version: int, workers: int = 1) -> None:
        """Wait until so many workers serve a version."""

        async def there() -> bool:
            newest: dict[str, int] = {}
            for swap in await self.read(topics.SWAPS, Swap):
                if swap.outcome == "swapped":
                    newest[swap.worker] = swap.version
            return sum(found == version for found in newest.values()) >= workers

        await aeventually(there, 60.0, 0.1)


def _reading(number: int) -> Clean:
    return Clean(
        stream="host",
        kind=Kind.SENSOR,
        source=f"/host/{number % 40}",
        id=f"h{number}",
        time=WHEN + timedelta(seconds=number),
        raw=Coordinates("events.raw", 0, number),
        values={"cpu": number * 37 % 100, "disk": number * 7 % 13, "memory": number * 11 % 41},
    )


@contextlib.asynccontextmanager
async def installation(stack: Endpoints, unique: str, folder: Path, rollout: str) -> AsyncIterator[World]:
    """An installation of the test's own on the shared services."""
    world = World(environment_of(stack, folder, CONFIG.format(name=unique) + rollout), folder)
    await create_topics(world.settings)
    try:
        yield world
    finally:
        world.end()


def answers(release: Release, world: World) -> Callable[[Clean], str]:
    """Return what a release, served alone, says of an event."""
    from concurrent.futures import ThreadPoolExecutor

    from serving.slot import Limits
    from serving.slot import load as load_model

    served = load_model(release, ThreadPoolExecutor(1), Limits(world.settings.releases))
    return lambda event: served.predictor.predict([event.values])[0].label


async def test_a_worse_release_goes_back_by_itself_and_a_better_one_stays(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Version 2 is better and stays; 3 calls one class another and is gone within its window.

    Two serving workers share the partitions and both follow. The trainer is killed with -9 when part of the
    evidence is there, and again at the rollback: it comes once, whole, and on call is told once.
    """
    rollout = f'window = "{WINDOW_S:g}s"\nmirror = 0.5\n'
    async with installation(stack, unique, tmp_path, rollout) as world:
        first, second = world.release(1, seed=2), world.release(2, seed=1)
        third = world.release(3, seed=1, labels=SWAPPED)
        truth = answers(second, world)
        await world.announce(first, None)
        world.start("serving")
        world.start("serving")
        world.start("sink")
        trainer = world.start("trainer")
        await world.swapped(1, workers=2)
        served = await world.announce(second, first)
        await world.swapped(2, workers=2)

        async def mirrored(version: int, events: int) -> bool:
            shadows = await world.read(topics.SHADOW, Shadow)
            return len([s for s in shadows if s.served_version == version]) >= events

        await world.flow(truth, lambda: mirrored(2, 300))
        assert (await world.serving()).version == 2
        told = await world.announce(third, served)
        await world.swapped(3, workers=2)
        await world.publish(60)
        await world.label({event.id: truth(event) for event in world.events})
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
        await world.flow(truth, lambda: mirrored(3, 200))
        trainer = world.start("trainer")

        async def gone_back() -> bool:
            return (await world.serving()).version == 2

        await aeventually(gone_back, 60.0, 0.05)
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
        world.start("trainer")
        await world.swapped(2, workers=2)
        await world.publish(100)
        predictions = await world.answered()
        assert world.versions(predictions, 100) == {2}
        await _assert_went_back_once(world, told)
        await _assert_in_the_warehouse(world)


async def _assert_went_back_once(world: World, told: Release) -> None:
    assert told.rollout is not None
    releases = await world.read(topics.RELEASES, Release)
    assert [(r.version, r.state) for r in releases] == [
        (1, State.RELEASED), (2, State.RELEASED), (3, State.RELEASED),
        (2, State.RELEASED), (3, State.ROLLED_BACK),
    ]  # fmt: skip
    assert releases[3].served_before == (1,)
    assert releases[4].reasons[0] == "rolled back by itself"
    assert releases[4].reasons[1].endswith(" and 0"), "compared on events that both answered"
    steps = await world.read(topics.LOOP, Transition)
    assert [(s.previous, s.state, s.version) for s in steps if s.version] == [("full", "rolled_back", 3)]
    alerts = [a for a in await world.read(topics.ALERTS, DriftAlert) if a.signal is Signal.ROLLBACK]
    assert [(a.version, a.observations >= 50) for a in alerts] == [(3, True)]
    assert alerts[0].raised_at < told.rollout.since + timedelta(seconds=WINDOW_S)


async def _assert_in_the_warehouse(world: World) -> None:
    """Analysts see both answers of each event that two versions answered, exactly once."""
    shadows = len(await world.read(topics.SHADOW, Shadow))
    warehouse = await Warehouse.open(world.settings.endpoints.clickhouse, world.settings.config.database)
    try:

        async def stored() -> bool:
            rows = await warehouse.query(
                "SELECT count() AS n, uniqExact(source, id, version) AS u FROM shadows"
            )
            return bool(rows[0] == {"n": shadows, "u": shadows})

        await aeventually(stored, 30.0, 0.2)
        rows = await warehouse.query(
            "SELECT version, served_version, sum(right) / sum(labelled) AS right,"
            " sum(served_right) / sum(labelled) AS served FROM comparison GROUP BY version, served_version"
            " ORDER BY served_version"
        )
    finally:
        await warehouse.close()
    assert [(row["version"], row["served_version"]) for row in rows] == [(1, 2), (2, 3)]
    assert rows[0]["served"] == pytest.approx(1.0)
    assert rows[1]["right"] == pytest.approx(1.0)
    assert rows[1]["served"] < 0.8


async def test_a_release_goes_from_shadow_over_canary_to_all_events(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Each stage is passed by labels; a worker killed in between goes on where the releases say."""
    rollout = 'window = "3s"\nshadow = true\ncanary = 0.3\nmin_labels = 20\n'
    async with installation(stack, unique, tmp_path, rollout) as world:
        first, second = world.release(1, seed=2), world.release(2, seed=1)
        truth = answers(second, world)
        await world.announce(first, None)
        worker = world.start("serving")
        trainer = world.start("trainer")
        await world.swapped(1)
        await world.announce(second, first)

        def stage(wanted: RolloutStage) -> Callable[[], Any]:
            async def reached() -> bool:
                releases = [r for r in await world.read(topics.RELEASES, Release) if r.version == 2]
                return any(r.rollout is not None and r.rollout.stage is wanted for r in releases)

            return reached

        await world.flow(truth, stage(RolloutStage.CANARY))
        assert await asyncio.to_thread(what_serves, world.settings) == [
            {
                "model": "host",
                "version": 1,
                "trial": {"version": 2, "stage": "canary", "share": 0.3, "against": 1},
            }
        ]
        for killed in (worker, trainer):
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        world.start("serving")
        world.start("trainer")
        await world.flow(truth, stage(RolloutStage.FULL))
        await world.swapped(2)
        await world.publish(50)
        predictions = await world.answered()
        canary = [p for p in predictions if p.variant == "canary"]
        assert canary
        assert all(p.version == 2 and within(0.3, second.sha256, p.source, p.id) for p in canary)
        assert world.versions(predictions, 50) == {2}
        assert (await world.serving()).served_before == (1,)
        swaps = await world.read(topics.SWAPS, Swap)
        outcomes = [s.outcome for s in swaps if s.version == 2]
        assert [key for key, _ in itertools.groupby(o for o in outcomes if o != "answered")] == [
            "shadow", "canary", "swapped",
        ]  # fmt: skip
        steps = [(s.previous, s.state) for s in await world.read(topics.LOOP, Transition) if s.version == 2]
        assert steps == [("shadow", "canary"), ("canary", "full")]


async def test_what_serving_refuses_is_out_of_its_stage(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """A release that is broken where it is to be asked does not stay in shadow; the next one enters it."""
    async with installation(stack, unique, tmp_path, 'window = "1h"\nshadow = true\n') as world:
        first, second, third = (world.release(version, seed=version) for version in (1, 2, 3))
        graph = next(folder_of(second).glob("*.onnx"))
        graph.write_bytes(graph.read_bytes()[:-7])
        await world.announce(first, None)
        world.start("serving")
        trainer = world.start("trainer")
        await world.swapped(1)
        await world.announce(second, first)

        async def dropped() -> bool:
            newest = (await world.read(topics.RELEASES, Release))[-1]
            return bool((newest.version, newest.state) == (2, State.REJECTED))

        await aeventually(dropped, 60.0, 0.1)
        left = (await world.read(topics.RELEASES, Release))[-1]
        assert left.reasons[0] == "serving refuses it"
        assert "sha256" in left.reasons[1]
        (step,) = [s for s in await world.read(topics.LOOP, Transition) if s.version == 2]
        assert (step.previous, step.state) == ("shadow", "rejected")
        trainer.send_signal(signal.SIGKILL)
        trainer.wait()
        world.start("trainer")
        await world.announce(third, first)

        async def asked() -> bool:
            swaps = await world.read(topics.SWAPS, Swap)
            return any((s.version, s.outcome) == (3, "shadow") for s in swaps)

        await aeventually(asked, 60.0, 0.1)
        assert len([r for r in await world.read(topics.RELEASES, Release) if r.version == 2]) == 2
        assert (await world.serving()).version == 1


async def test_a_canary_that_is_worse_is_taken_back(stack: Endpoints, unique: str, tmp_path: Path) -> None:
    """Its share is the champion's again, which never ceased to serve the rest."""
    async with installation(stack, unique, tmp_path, 'canary = 0.4\nby = "source"\n') as world:
        first, second = world.release(1, seed=1), world.release(2, seed=1, labels=SWAPPED)
        truth = answers(first, world)
        await world.announce(first, None)
        world.start("serving")
        world.start("trainer")
        await world.swapped(1)
        await world.announce(second, first)

        async def taken_back() -> bool:
            newest = (await world.read(topics.RELEASES, Release))[-1]
            return bool((newest.version, newest.state) == (2, State.ROLLED_BACK))

        await world.flow(truth, taken_back)

        async def let_go() -> bool:
            await world.publish(50)
            return world.versions(await world.answered(), 50) == {1}

        await aeventually(let_go, 30.0)
        canary = [p for p in await world.answered() if p.variant == "canary"]
        assert canary
        drawn = {p.source for p in canary}
        assert all(within(0.4, second.sha256, source, "", By.SOURCE) for source in drawn)
        assert {p.version for p in canary} == {2}
        assert (await world.serving()).version == 1


async def test_without_a_mirror_the_accuracy_before_the_swap_decides(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """No event has two answers; ClickHouse tells what the version before showed just before."""
    async with installation(stack, unique, tmp_path, "mirror = 0\n") as world:
        first, second = world.release(1, seed=1), world.release(2, seed=1, labels=SWAPPED)
        truth = answers(first, world)
        await world.announce(first, None)
        for name in ("serving", "sink", "trainer"):
            world.start(name)
        await world.swapped(1)

        async def published() -> bool:
            return len(world.events) >= 300

        await world.flow(truth, published)
        await world.announce(second, first)
        await world.swapped(2)

        async def gone_back() -> bool:
            return (await world.serving()).version == 1

        await world.flow(truth, gone_back)
        left = (await world.read(topics.RELEASES, Release))[-1]
        assert (left.version, left.state) == (2, State.ROLLED_BACK)
        assert "; before 0 of " in left.reasons[1]
        assert await world.read(topics.SHADOW, Shadow) == []
