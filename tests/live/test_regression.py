"""A stream whose model answers numbers, on real Kafka and ClickHouse: the whole loop, once round."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings
from infra.runtime.warehouse import Warehouse
from schemas import codec, topics
from schemas.config import Headrace
from schemas.drift import DriftAlert, Signal
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Outgoing
from schemas.release import Release, State, Task
from serving import consumer
from streams.apps import drift
from streams.sink import worker as sink
from tests.unit.trainers import samples
from tests.waiting import aeventually
from trainers import worker as trainer
from trainers.reader import Reader

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

_STREAM = {
    "kind": "sensor",
    "model": {"task": "regression", "learn": {"min_labels": 300}},
    "drift": {"on_error": "increment", "input": {"enabled": False}, "prediction": {"enabled": False}},
    "gate": {"p99_ms": 500},
}

_WEAR = 12.0


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Topics, a database and a data folder of this test's own."""
    monkeypatch.setenv("HEADRACE_TRAINER_NICE", "0")  # the tests beside it must not starve it
    config = {"streams": {"host": _STREAM}, "topic_prefix": f"{unique}.", "database": unique}
    return Settings(tmp_path, Headrace.model_validate(config), stack)


@contextlib.asynccontextmanager
async def _working(settings: Settings) -> AsyncIterator[None]:
    """Run the sink, the inference consumer, the drift watch and the trainer."""
    runs: list[Callable[[Settings], Any]] = [sink.run, consumer.run, drift.run, trainer.run]
    tasks = [asyncio.create_task(run(settings)) for run in runs]
    try:
        yield
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Machine:
    """Publishes readings and, once they were answered or need not be, the later temperatures."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._published = self._seed = 0

    async def run(self, count: int, *, wear: float = 0.0, answered: bool = True) -> None:
        """Publish `count` events and their labels; one label in fifty says no number."""
        self._seed += 1
        rows = samples.heating(self._seed, count, wear=wear, after_s=self._published)
        self._published += count
        events = [
            Outgoing(topics.CLEAN.name, event.source.encode(), codec.encode(event)) for event, _ in rows
        ]
        labels = []
        for number, (event, said) in enumerate(rows):
            label = Label(
                stream="host", source=event.source, id=event.id, labelled_at=event.time,
                label="hot" if number % 50 == 7 else said,
            )  # fmt: skip
            labels.append(Outgoing(topics.LABELS.name, event.source.encode(), codec.encode(label)))
        async with Publisher(self._settings) as publisher:
            before = len(await _read(self._settings, topics.PREDICTIONS, Prediction)) if answered else 0
            await publisher.send_all(events)
            if answered:
                await _at_least(self._settings, topics.PREDICTIONS, Prediction, before + count)
            await publisher.send_all(labels)


async def _read(settings: Settings, topic: topics.Topic, contract: type[Any]) -> list[Any]:
    records = follow(settings, [topic], stop_at_end=True)
    return [codec.decode(record.value or b"", contract) async for record in records]


async def _at_least(settings: Settings, topic: topics.Topic, contract: type[Any], count: int) -> list[Any]:
    async def enough() -> list[Any]:
        found = await _read(settings, topic, contract)
        return found if len(found) >= count else []

    return await aeventually(enough, 120.0, 0.2)


async def _released(settings: Settings, count: int) -> list[Release]:
    """Wait for so many releases, rejections aside."""

    async def there() -> list[Release]:
        found: list[Release] = await _read(settings, topics.RELEASES, Release)
        released = [release for release in found if release.state is State.RELEASED]
        return released if len(released) >= count else []

    return await aeventually(there, 120.0, 0.5)


async def test_the_loop_of_a_regression(settings: Settings) -> None:
    """Numbers are learnt, answered within a tolerance, watched, and learnt again when the machine wears."""
    await create_topics(settings)
    machine = _Machine(settings)
    async with _working(settings):
        await machine.run(600, answered=False)
        (first,) = await _released(settings, 1)
        assert await aeventually(lambda: _serves(settings, machine, 1, 0.0), 60.0, 0.1)
        await machine.run(900)
        await machine.run(500, wear=_WEAR)
        (alert,) = await _at_least(settings, topics.ALERTS, DriftAlert, 1)
        assert (alert.signal, alert.version) == (Signal.ERROR, 1)
        assert "from the truth) rose from" in alert.summary
        second = (await _released(settings, 2))[-1]
        assert (second.parent, second.alert) == (1, alert.id)
        assert second.metrics["mae"] < 0.5 * second.metrics["champion_mae"]
        assert await aeventually(lambda: _serves(settings, machine, 2, _WEAR), 60.0, 0.1)
        await machine.run(300, wear=_WEAR)
        predictions = await _read(settings, topics.PREDICTIONS, Prediction)
        assert all(one.label == "" and one.tolerance is not None for one in predictions)
        assert {round(one.tolerance, 6) for one in predictions} == {round(first.metrics["tolerance"], 6)}
        warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
        try:
            await _stored(warehouse)
        finally:
            await warehouse.close()


async def _serves(settings: Settings, machine: _Machine, version: int, wear: float) -> bool:
    """Send a few events and tell whether the version answered one of them."""
    before = len(await _read(settings, topics.PREDICTIONS, Prediction))
    await machine.run(3, wear=wear, answered=False)
    found = await _read(settings, topics.PREDICTIONS, Prediction)
    return any(one.version == version for one in found[before:])


async def _stored(warehouse: Warehouse) -> None:
    """The accuracy that analysts ask for is by the tolerance; labels that say no number train nothing."""
    query = (
        "SELECT version, sum(right) / sum(labelled) AS share FROM accuracy GROUP BY version ORDER BY version"
    )

    async def both() -> list[dict[str, Any]]:
        rows = await warehouse.query(query)
        return rows if [row["version"] for row in rows] == [1, 2] else []

    shares = [row["share"] for row in await aeventually(both, 30.0, 0.2)]
    assert 0.3 < shares[0] < 0.8
    assert shares[1] > 0.6
    reader = Reader(warehouse, "host", task=Task.REGRESSION)
    assert await reader.unusable() > 30
