"""A release on trial beside another version: who answers, what is recorded, what is loaded and let go."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka import TopicPartition

from infra.runtime.clock import ManualClock
from infra.runtime.settings import Endpoints, Settings, parse
from schemas import codec, topics
from schemas.clean import Clean
from schemas.dead import Dead
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind, Outgoing
from schemas.release import Release, State, Swap, Task
from schemas.rollout import By, Rollout, RolloutStage, within
from schemas.shadow import Shadow
from serving import slot as slots
from serving.batching import Policy
from serving.cache import Cache, Local
from serving.consumer import Serving
from serving.follow_releases import Models
from serving.predictor import BadAnswer
from serving.release import BadRelease
from serving.slot import Second, Slot
from tests.unit.serving.releases import lay_out, sensor, tiny_text
from tests.unit.serving.test_consumer import Record
from tests.unit.serving.texts import TEXTS

NOW = datetime(2026, 5, 6, tzinfo=UTC)
PARTITION = TopicPartition("events.clean", 1)
CONFIG = """
[streams.host]
kind = "sensor"
[streams.host.model]
[streams.requests]
kind = "api"
[streams.requests.model]
"""
CONTRACTS: dict[str, Any] = {
    topics.PREDICTIONS.name: Prediction,
    topics.SHADOW.name: Shadow,
    topics.SWAPS.name: Swap,
    topics.DEAD.name: Dead,
}


class World:
    """A serving worker's models and handler, with a clock of the test's own and no broker."""

    def __init__(self, home: Path, pool: ThreadPoolExecutor) -> None:
        settings = Settings(home, parse(CONFIG, "the test"), Endpoints("", "", ""))
        self.clock = ManualClock(NOW)
        self.releases = home / "releases"
        self.models = Models(settings, pool, clock=self.clock, worker="w")
        self.handler = Serving(settings, self.models, Cache(Local()), clock=self.clock)

    def host(self, version: int) -> Release:
        """Lay out a sensor release; versions answer differently."""
        return lay_out(self.releases, sensor(version, Task.CLASSIFICATION), model="host", version=version)

    async def announce(self, release: Release) -> None:
        """Let the worker hear of a release, and let the gap between two batches come."""
        if release.state is State.RELEASED and not release.staged:
            assert await self.models.offer(release)
        else:
            await self.models.stage(release)
        await self.handler.between_batches()

    async def answer(self, first: int, count: int) -> dict[str, list[Any]]:
        """Answer so many readings and return what came out, by topic."""
        events = [reading(offset) for offset in range(first, first + count)]
        return decoded(await self.handler.process(PARTITION, events))


@pytest.fixture
async def world(tmp_path: Path, pool: ThreadPoolExecutor) -> World:
    """A worker that owns one partition."""
    made = World(tmp_path, pool)
    await made.handler.assigned(PARTITION, 0)
    return made


def reading(offset: int) -> Record:
    """A clean sensor event whose class differs with its offset."""
    clean = Clean(
        stream="host",
        kind=Kind.SENSOR,
        source=f"/host/{offset % 9}",
        id=f"e{offset}",
        time=NOW,
        raw=Coordinates("events.raw", 0, offset),
        values={"cpu": offset % 100, "disk": offset % 13, "memory": offset % 41},
    )
    return Record(offset, codec.encode(clean))


def decoded(outputs: Sequence[Outgoing]) -> dict[str, list[Any]]:
    """Sort outputs by topic."""
    found: dict[str, list[Any]] = {name: [] for name in CONTRACTS}
    for output in outputs:
        found[output.topic].append(codec.decode(output.value, CONTRACTS[output.topic]))
    return found


def on_trial(release: Release, against: Release, stage: RolloutStage, share: float, **terms: Any) -> Release:
    """Put a release on trial against another."""
    given = {"since": NOW, "window_s": 600.0, **terms}
    rollout = Rollout(
        stage=stage, share=share, against=against.version, against_sha256=against.sha256, **given
    )
    return msgspec.structs.replace(release, rollout=rollout)


def drawn(release: Release, share: float, offsets: range, by: By = By.ID) -> list[int]:
    """Return which of the events are in a share."""
    return [n for n in offsets if within(share, release.sha256, f"/host/{n % 9}", f"e{n}", by)]


async def test_after_a_swap_the_version_before_answers_a_share_aside(world: World) -> None:
    """Every event has one prediction, by the new version; both answers are in the share's shadows."""
    first, second = world.host(1), world.host(2)
    await world.announce(first)
    await world.announce(on_trial(second, first, RolloutStage.FULL, 0.3))
    found = await world.answer(0, 200)
    predictions, shadows = found["predictions"], found["predictions.shadow"]
    assert [p.event.offset for p in predictions] == list(range(200))
    assert {(p.version, p.variant, p.why) for p in predictions} == {(2, "champion", "")}
    assert [s.event.offset for s in shadows] == drawn(second, 0.3, range(200))
    assert {(s.version, s.served_version, s.stage) for s in shadows} == {(1, 2, "full")}
    by_offset = {p.event.offset: p for p in predictions}
    for s in shadows:
        served = by_offset[s.event.offset]
        assert (s.served_label, s.served_score, s.served_sha256) == (
            served.label,
            served.score,
            second.sha256,
        )
        assert s.agreed == (s.label == served.label)
    assert {s.agreed for s in shadows} == {True, False}


async def test_the_version_before_is_let_go_after_its_window(world: World) -> None:
    """Its memory is free again, and no event is asked twice."""
    first, second = world.host(1), world.host(2)
    await world.announce(first)
    await world.announce(on_trial(second, first, RolloutStage.FULL, 1.0))
    world.clock.advance(599)
    await world.handler.between_batches()
    assert len((await world.answer(0, 5))["predictions.shadow"]) == 5
    world.clock.advance(1)
    await world.handler.between_batches()
    assert world.models.second("host") is None
    assert (await world.answer(5, 5))["predictions.shadow"] == []


async def test_a_canary_answers_its_share_and_no_other(world: World) -> None:
    """The share's predictions are the candidate's, marked so; the champion answers them aside."""
    first, second = world.host(1), world.host(2)
    await world.announce(first)
    await world.announce(on_trial(second, first, RolloutStage.CANARY, 0.25, by=By.SOURCE))
    found = await world.answer(0, 300)
    canary = [p for p in found["predictions"] if p.variant == "canary"]
    assert [p.event.offset for p in canary] == drawn(second, 0.25, range(300), By.SOURCE)
    assert canary
    assert {(p.version, p.sha256, p.why) for p in canary} == {
        (2, second.sha256, "canary: 0.25 of the events, by source")
    }
    assert {p.version for p in found["predictions"] if p.variant == "champion"} == {1}
    assert len(found["predictions"]) == 300
    assert {(s.version, s.served_version, s.stage) for s in found["predictions.shadow"]} == {(1, 2, "canary")}
    assert len(found["predictions.shadow"]) == len(canary)
    assert {swap.version for swap in found["models.swaps"]} == {1}, "the ledger is the champion's"


async def test_a_shadow_never_answers(world: World) -> None:
    """All events are asked of both; what is given is the champion's, bit by bit as without a shadow."""
    first, second = world.host(1), world.host(2)
    await world.announce(first)
    alone = (await world.answer(0, 50))["predictions"]
    await world.announce(on_trial(second, first, RolloutStage.SHADOW, 1.0))
    found = await world.answer(0, 50)
    kept = ("label", "score", "version", "variant", "why", "event")
    assert [[getattr(p, name) for name in kept] for p in found["predictions"]] == [
        [getattr(p, name) for name in kept] for p in alone
    ]
    assert {(s.version, s.served_version, s.stage) for s in found["predictions.shadow"]} == {(2, 1, "shadow")}
    assert len(found["predictions.shadow"]) == 50


class Broken:
    """A model that fails on every row, its golden inputs included."""

    family = "sensor"
    policy = Policy.SINGLE
    provider = ""
    tolerance: float | None = None

    def predict(self, rows: Sequence[Any]) -> list[Any]:
        """Fail."""
        raise BadAnswer(f"nothing of {len(rows)} rows is finite")


@pytest.mark.parametrize("stage", [RolloutStage.SHADOW, RolloutStage.CANARY])
async def test_a_candidate_that_fails_harms_no_event(world: World, stage: RolloutStage) -> None:
    """The champion's answer is given in its place, no event is lost, and the failure is on record."""
    first, second = world.host(1), world.host(2)
    await world.announce(first)
    await world.announce(on_trial(second, first, stage, 1.0))
    slot = world.models._slots["host"]
    assert slot.second is not None
    slot.second = slot.second._replace(served=replace(slot.second.served, predictor=Broken()))
    found = await world.answer(0, 20)
    assert [(p.version, p.variant) for p in found["predictions"]] == [(1, "champion")] * 20
    assert {p.why for p in found["predictions"]} == (
        {"the canary had no answer"} if stage is RolloutStage.CANARY else {""}
    )
    assert found["events.dead"] == []
    assert {(s.version, s.served_version, bool(s.problem)) for s in found["predictions.shadow"]} == {
        (2, 1, True)
    }


async def test_a_rollback_finds_its_version_warm(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Going back loads nothing, and neither does a canary that becomes the champion."""
    first, second = world.host(1), world.host(2)
    await world.announce(first)
    await world.announce(on_trial(second, first, RolloutStage.CANARY, 0.5))
    loaded: list[int] = []
    monkeypatch.setattr(slots, "load", lambda release, *_: loaded.append(release.version))
    await world.announce(on_trial(second, first, RolloutStage.FULL, 0.5))
    current, beside = world.models.current("host"), world.models.second("host")
    assert current is not None
    assert beside is not None
    assert (current.release.version, beside.served.release.version) == (2, 1)
    await world.announce(first)
    current = world.models.current("host")
    assert current is not None
    assert current.release.version == 1
    assert world.models.second("host") is None
    assert loaded == []


async def test_a_candidate_that_is_taken_back_is_asked_no_more(world: World) -> None:
    """What was said of it ends its trial; what is said of others does not."""
    first, second = world.host(1), world.host(2)
    await world.announce(first)
    staged = on_trial(second, first, RolloutStage.CANARY, 1.0)
    await world.announce(staged)
    other = msgspec.structs.replace(staged, version=3, state=State.REJECTED)
    await world.announce(other)
    assert world.models.second("host") is not None
    await world.announce(msgspec.structs.replace(staged, state=State.ROLLED_BACK))
    assert world.models.second("host") is None
    assert {p.version for p in (await world.answer(0, 20))["predictions"]} == {1}


async def test_a_candidate_for_another_champion_is_not_asked(world: World) -> None:
    """It would be compared with what does not serve."""
    first, second, third = world.host(1), world.host(2), world.host(3)
    await world.announce(third)
    await world.announce(on_trial(second, first, RolloutStage.CANARY, 1.0))
    assert world.models.second("host") is None


async def test_memory_for_two_is_asked_for(
    tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second that memory does not do for is refused; the champion goes on, its own second went first."""
    releases = [
        lay_out(tmp_path, sensor(version, Task.CLASSIFICATION), model="host", version=version)
        for version in (1, 2, 3)
    ]
    slot = Slot(pool)
    await slot.load(releases[0])
    slot.take_over()
    await slot.load(on_trial(releases[1], releases[0], RolloutStage.FULL, 0.2))
    slot.take_over()
    assert isinstance(slot.second, Second)
    monkeypatch.setattr(slots, "_container_bytes", lambda: 0)
    with pytest.raises(BadRelease, match="MiB are available"):
        await slot.load_second(releases[2], on_trial(releases[2], releases[1], RolloutStage.SHADOW, 1.0))
    assert slot.second is None
    assert slot.current is not None
    assert slot.current.release.version == 2


async def test_the_cache_keeps_the_versions_apart(world: World) -> None:
    """With equal texts over and over, every answer is the one that its own version gives alone."""
    first, second = (
        lay_out(world.releases, tiny_text(version), model="requests", version=version) for version in (1, 2)
    )
    await world.announce(first)
    alone: dict[int, dict[str, str]] = {}
    records = [request(offset) for offset in range(60)]
    alone[1] = _labels(decoded(await world.handler.process(PARTITION, records)))
    await world.announce(second)
    alone[2] = _labels(decoded(await world.handler.process(PARTITION, records)))
    await world.announce(first)
    await world.announce(on_trial(second, first, RolloutStage.SHADOW, 1.0))
    for _ in range(2):
        found = decoded(await world.handler.process(PARTITION, records))
        assert _labels(found) == alone[1]
        assert {s.id: s.label for s in found["predictions.shadow"]} == alone[2]
    assert all(s.cached and s.served_cached for s in found["predictions.shadow"])
    assert alone[1] != alone[2]


def request(offset: int) -> Record:
    """A clean request; ten texts in all."""
    clean = Clean(
        stream="requests",
        kind=Kind.API,
        source="/shop",
        id=f"r{offset}",
        time=NOW,
        raw=Coordinates("events.raw", 0, offset),
        text=TEXTS[offset % 10],
    )
    return Record(offset, codec.encode(clean))


def _labels(found: dict[str, list[Any]]) -> dict[str, str]:
    return {p.id: p.label for p in found["predictions"]}
