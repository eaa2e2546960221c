"""The trainer worker with the real broker and warehouse: first training, alert, increment, restart."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings
from infra.runtime.warehouse import Warehouse
from schemas import codec, topics
from schemas.config import Headrace, Learn
from schemas.drift import DriftAlert, Response, Severity, Signal
from schemas.record import Outgoing
from schemas.release import Release, State, Task, Transition
from tests.unit.trainers import samples
from tests.waiting import aeventually
from trainers import folders
from trainers.dataset import rows_of
from trainers.datasets import stored
from trainers.memory import memory_file
from trainers.reader import Reader
from trainers.registry import pending, unpointed
from trainers.reservoir import Reservoir
from trainers.worker import run

pytestmark = [pytest.mark.live, pytest.mark.timeout(480)]

_MIGRATIONS = Path(__file__).parents[2] / "infra" / "clickhouse" / "migrations"
_CONFIG = Headrace.model_validate(
    {
        "streams": {
            "requests": {
                "kind": "api",
                "model": {"learn": {"min_labels": 120, "replay": 200}},
                "gate": {"p99_ms": 500},
            }
        }
    }
)


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Topics, a database and a data folder of this test's own."""
    monkeypatch.setenv("HEADRACE_TRAINER_NICE", "0")  # the tests beside it must not starve it
    return Settings(
        tmp_path, _CONFIG.model_copy(update={"topic_prefix": f"{unique}.", "database": unique}), stack
    )


async def create_tables(settings: Settings) -> None:
    """Make the `events` and `labels` tables as the migrations make them, in a database of their own."""
    opened = await Warehouse.open(settings.endpoints.clickhouse, "default")
    await opened.command(f"CREATE DATABASE {settings.config.database}")
    for name in ("0001_events.sql", "0003_labels.sql"):
        script = (_MIGRATIONS / name).read_text(encoding="utf-8").format(database=settings.config.database)
        for statement in re.sub(r"--.*", "", script).split(";"):
            if statement.strip():
                await opened.command(statement)
    await opened.close()


@pytest.fixture
async def warehouse(settings: Settings) -> AsyncIterator[Warehouse]:
    """The `events` and `labels` tables, empty."""
    await create_tables(settings)
    warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    yield warehouse
    await warehouse.close()


async def store(warehouse: Warehouse, topic: str, rows: Sequence[samples.Labelled]) -> None:
    """Insert events and their labels as the sink does."""
    events, labels = [], []
    for event, label in rows:
        place = {"_topic": topic, "_partition": event.raw.partition, "_offset": event.raw.offset}
        arrived = {"_arrived": event.time.date().isoformat()}
        events.append({**msgspec.to_builtins(event), **place, **arrived})
        for said, by in ((label, "analyst"), ("wrong", "robot")):
            minute = timedelta(minutes=2 if by == "analyst" else 1)
            labels.append(
                {
                    "stream": event.stream, "source": event.source, "id": event.id, "label": said, "by": by,
                    "labelled_at": event.time + minute, **place, **arrived,
                }
            )  # fmt: skip
    for table, records in (("events", events), ("labels", labels)):
        await warehouse.insert_json(table, b"\n".join(msgspec.json.encode(record) for record in records))


@asynccontextmanager
async def _worker(settings: Settings) -> AsyncIterator[None]:
    task = asyncio.create_task(run(settings))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):  # a cancelled worker is how this ends well
            await task


async def _until(
    settings: Settings, topic: topics.Topic, contract: Any, wanted: Any, limit_s: float = 200
) -> Any:
    """Follow a topic from its beginning until a record satisfies `wanted`, and return it."""
    seen = []
    try:
        async with asyncio.timeout(limit_s):
            async for incoming in follow(settings, [topic], start="beginning"):
                record = codec.decode(incoming.value or b"", contract)
                seen.append(record)
                if wanted(record):
                    return record
    except TimeoutError:
        raise AssertionError(f"not within {limit_s} s; seen: {seen}") from None


def _nth(count: int, state: str) -> Callable[[Transition], bool]:
    """Return a test that holds at the `count`th transition into a state."""
    left = itertools.count(count, -1)
    return lambda step: step.state == state and next(left) == 1


def _alert(name: str, since: datetime, version: int = 1) -> DriftAlert:
    return DriftAlert(
        id=name, stream="requests", model="requests", version=version, signal=Signal.ERROR, detector="adwin",
        statistic=0.3, threshold=0.1, since=since, window_from=since, window_to=since, observations=100,
        severity=Severity.CRITICAL, response=Response.INCREMENT, summary="error rose",
        raised_at=datetime.now(UTC),
    )  # fmt: skip


async def _registered(settings: Settings) -> bool:
    """Tell whether every run is in MLflow, and the aliases say what serves."""
    return not pending(settings.home) and not unpointed(settings.home)


async def _later_than(warehouse: Warehouse, as_of: int) -> bool:
    """Tell whether ClickHouse's clock has moved on: what is stored now is later than a dataset."""
    (row,) = await warehouse.query("SELECT toUnixTimestamp64Milli(now64(3)) AS now")
    return int(row["now"]) > as_of


async def _raise(settings: Settings, *alerts: DriftAlert) -> None:
    async with Publisher(settings) as publisher:
        for alert in alerts:
            await publisher.send(Outgoing(topics.ALERTS.name, b"requests", codec.encode(alert)))


async def test_the_loop_from_the_first_rows_to_an_increment(settings: Settings, warehouse: Warehouse) -> None:
    """Rows bring version 1 by themselves, an alert version 2, its twin and a stale one nothing."""
    topic = settings.topic(topics.CLEAN)
    await create_topics(settings)
    await store(warehouse, topic, samples.requests(1, normal=120, sqli=120))
    async with _worker(settings):
        first = await _until(settings, topics.RELEASES, Release, lambda release: release.version == 1)
        assert (first.state, first.parent, first.alert) == (State.RELEASED, None, None)
        await store(warehouse, topic, samples.requests(2, after_s=1000, normal=100, sqli=60, xss=90))
        since = samples.START + timedelta(seconds=1000)
        await _raise(settings, _alert("drift-1", since), _alert("drift-2", since))
        second = await _until(settings, topics.RELEASES, Release, lambda release: release.version == 2)
        await _until(settings, topics.LOOP, Transition, _nth(2, "watching"))
        await aeventually(lambda: _registered(settings), timeout_s=120)
    assert (second.state, second.parent, second.alert) == (State.RELEASED, 1, "drift-1")
    assert second.served_before == (1,)
    assert second.metrics["accuracy"] > 0.95 > second.metrics["champion_accuracy"]
    assert second.training is not None
    assert set(second.training.offsets) == {f"{topic}:0", f"{topic}:1"}
    folders.verify(settings.releases, "requests", 2)
    collected = {one.description.sha256: one.description for one in stored(settings.home)}
    assert first.training is not None
    lineage = collected[second.training.dataset_sha256].lineage
    assert (lineage.alert, lineage.champion) == ("drift-1", 1)
    assert set(lineage.parents) == {first.training.dataset_sha256}
    steps = [
        codec.decode(incoming.value or b"", Transition)
        async for incoming in follow(settings, [topics.LOOP], stop_at_end=True)
    ]
    first_run = ["collecting", "training", "evaluating", "released", "watching"]
    assert [step.state for step in steps] == [*first_run, "alerted", *first_run]
    assert all(later.previous == earlier.state for earlier, later in itertools.pairwise(steps))

    await _raise(settings, _alert("drift-3", since, version=1))
    async with _worker(settings):
        handled = settings.home / "trainer" / "handled.txt"

        async def answered() -> bool:
            return "drift-3" in handled.read_text()

        await aeventually(answered, timeout_s=60)
    assert set(handled.read_text().split()) == {"drift-1", "drift-2", "drift-3"}
    assert folders.versions(settings.releases, "requests") == [1, 2]


async def test_a_rejected_candidate_is_followed_by_another_while_the_drift_stands(
    settings: Settings, warehouse: Warehouse
) -> None:
    """With twice the labels since the drift another is trained, also after a restart; not once it is over."""
    topic = settings.topic(topics.CLEAN)
    await create_topics(settings)
    await store(warehouse, topic, samples.requests(1, normal=120, sqli=120))
    since = samples.START + timedelta(seconds=1000)
    async with _worker(settings):
        await _until(settings, topics.RELEASES, Release, lambda release: release.version == 1)
        await store(warehouse, topic, samples.requests(2, after_s=1000, normal=65, sqli=65))  # nothing new
        await _raise(settings, _alert("drift-1", since))
        rejected = await _until(settings, topics.RELEASES, Release, lambda release: release.version == 2)
        assert (rejected.state, rejected.alert) == (State.REJECTED, "drift-1")
        await _until(settings, topics.LOOP, Transition, _nth(2, "watching"))
    await store(warehouse, topic, samples.requests(5, after_s=1500, normal=60, sqli=40, xss=100))
    async with _worker(settings):
        third = await _until(settings, topics.RELEASES, Release, lambda release: release.version == 3)
        assert (third.state, third.parent, third.alert) == (State.RELEASED, 1, "drift-1")
    runs = sorted(path.parent.name for path in (settings.home / "trainer" / "runs").glob("*/state.json"))
    assert [name.removeprefix("requests-") for name in runs if "drift" in name] == [
        "drift-1",
        "drift-1-again-2",
    ]


async def test_an_interrupted_run_is_taken_up_again(settings: Settings, warehouse: Warehouse) -> None:
    """A worker stopped in the middle of its first training trains it after the next start, once."""
    await create_topics(settings)
    await store(warehouse, settings.topic(topics.CLEAN), samples.requests(3, normal=100, sqli=100))
    async with _worker(settings):
        await _until(settings, topics.LOOP, Transition, lambda step: step.state == "training")
    assert folders.versions(settings.releases, "requests") == []
    async with _worker(settings):
        await _until(settings, topics.RELEASES, Release, lambda release: release.state is State.RELEASED)
    assert folders.versions(settings.releases, "requests") == [1]
    assert len(list((settings.home / "trainer" / "runs").glob("*/state.json"))) == 1


async def test_the_reader_takes_the_newest_label_and_a_balanced_reservoir(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Labels by an analyst overrule earlier ones; old rows are drawn equally from the classes."""
    await store(warehouse, "clean", samples.requests(4, normal=300, sqli=60))
    await store(warehouse, "clean", samples.requests(5, after_s=5000, normal=40, xss=40))
    reader = Reader(warehouse, "requests", task=Task.CLASSIFICATION)
    since = samples.START + timedelta(seconds=5000)
    assert await reader.count(since) == 80
    assert await reader.count(None) == 440
    assert await reader.labels() == ["normal", "sqli", "xss"]
    model = _CONFIG.streams["requests"].model
    assert model is not None
    data = await reader.dataset(model.learn.model_copy(update={"replay": 100}), since)
    assert {row.label for row in data.recent} == {"normal", "xss"}
    old = [*data.old, *data.old_validation, *data.old_held_out]
    leaked = data.leaks.content + data.leaks.near - data.leaks.kept
    assert leaked <= 0.2 * (len(old) + leaked)
    assert 60 - leaked <= sum(row.label == "sqli" for row in old) <= 60
    assert 60 - leaked <= sum(row.label == "normal" for row in old) <= 65
    assert min(row.time for row in data.recent) >= since > max(row.time for row in old)
    unlabelled = Reader(warehouse, "requests", task=Task.ANOMALY)
    assert await unlabelled.count(None) == 440


async def test_a_dataset_tells_its_windows_and_they_can_be_read_again(
    settings: Settings, warehouse: Warehouse
) -> None:
    """Event times, offsets and rows are exact; the recorded queries give the same rows after more came."""
    await store(warehouse, "clean", samples.requests(4, normal=300, sqli=60))
    await store(warehouse, "clean", samples.requests(5, after_s=5000, normal=40, xss=40))
    since, learn = samples.START + timedelta(seconds=5000), Learn(replay=80)
    file = memory_file(settings.home, "requests")
    reader = Reader(warehouse, "requests", task=Task.CLASSIFICATION, memory=file)
    data = await reader.dataset(learn, since, alert="drift-1")
    assert data.description is not None
    recent, before, replayed = data.description.windows
    assert (recent.name, recent.rows, recent.event_from) == ("recent", 80, since)
    assert recent.event_to == since + timedelta(seconds=79)
    assert recent.offsets == {"clean:0": (5000, 5078), "clean:1": (5001, 5079)}
    assert recent.parameters["since"] == int(since.timestamp()) * 1_000_000
    assert before.rows == replayed.rows == 100
    assert data.description.lineage.alert == "drift-1"

    await aeventually(lambda: _later_than(warehouse, recent.parameters["as_of"]))
    await store(warehouse, "clean", samples.requests(6, after_s=5100, normal=30, xss=5))
    await store(warehouse, "clean", samples.requests(7, after_s=400, normal=90, sqli=5))
    for window in (recent, before):
        again = await warehouse.query(window.query, window.parameters)
        assert len(again) == window.rows
        offsets = [int(row["offset"]) for row in again if row["partition"] == 0]
        assert window.offsets["clean:0"] == (min(offsets), max(offsets))


async def test_the_reservoir_is_drawn_in_one_order_by_warehouse_and_memory(
    settings: Settings, warehouse: Warehouse
) -> None:
    """What ClickHouse draws is what the reservoir keeps of all; what left the warehouse is still replayed."""
    await store(warehouse, "clean", samples.requests(4, normal=300, sqli=60))
    await store(warehouse, "clean", samples.requests(5, after_s=5000, normal=40, xss=40))
    since, learn = samples.START + timedelta(seconds=5000), Learn(replay=80)
    file = memory_file(settings.home, "requests")
    first = await Reader(warehouse, "requests", task=Task.CLASSIFICATION, memory=file).dataset(learn, since)
    expected = Reservoir(100, learn.seed)
    expected.offer(rows_of(samples.requests(4, normal=300, sqli=60)))
    drawn = {entry.row.id for entry in expected.draw(since)}
    parts = (first.old, first.old_validation, first.old_held_out)
    assert {row.id for part in parts for row in part} <= drawn
    assert {row.id for row in (*first.old, *first.old_validation)} | drawn == drawn
    assert len(drawn) == 100

    for table in ("events", "labels"):
        await warehouse.command(f"TRUNCATE TABLE {settings.config.database}.{table}")
    await store(warehouse, "clean", samples.requests(8, after_s=9000, normal=60, sqli=60))
    later = samples.START + timedelta(seconds=9000)
    second = await Reader(warehouse, "requests", task=Task.CLASSIFICATION, memory=file).dataset(learn, later)
    assert {row.label for row in second.old} == {"normal", "sqli", "xss"}
    assert second.description is not None
    assert set(second.description.lineage.parents) == {first.sha256()}
