"""The drift worker and the delivery of its alerts on real Kafka and Redis, with a real webhook receiver."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web
from aiokafka import TopicPartition

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings
from schemas.clean import Clean
from schemas.codec import encode
from schemas.config import Headrace
from schemas.drift import DriftAlert, Signal
from schemas.errors import Fatal
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind, Outgoing
from schemas.topics import ALERTS, CLEAN, LABELS, PREDICTIONS
from streams.apps import drift
from streams.drift.board import connect, read_levels
from streams.drift.levels import level_key
from streams.drift.log import AlertLog, written_alerts
from tests.waiting import aeventually

pytestmark = pytest.mark.live


class Receiver:
    """A webhook that takes what is posted, after refusing the first `failures` posts."""

    def __init__(self, failures: int = 0) -> None:
        self.posts: list[dict[str, Any]] = []
        self.failures = failures
        self.refused = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        if self.refused < self.failures:
            self.refused += 1
            return web.Response(status=503)
        self.posts.append({**await request.json(), "key": request.headers["Idempotency-Key"]})
        return web.Response(text="ok")


@contextlib.asynccontextmanager
async def receiving(failures: int = 0) -> AsyncIterator[Receiver]:
    """Serve a webhook on a free port."""
    receiver = Receiver(failures)
    app = web.Application()
    app.router.add_post("/hook/secret-part", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/secret-part"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[None]:
    """Run the worker, and cancel it as SIGTERM does."""
    task = asyncio.create_task(drift.run(settings))
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # this is how the worker ends
            await task


def configured(stack: Endpoints, prefix: str, home: Path, url: str = "") -> Settings:
    """Return settings of one stream with the error watch alone asking for teaching."""
    config = Headrace.model_validate(
        {
            "streams": {"requests": {"kind": "api", "model": {"task": "classification"}}},
            "topic_prefix": f"{prefix}.",
            "alerts": {"webhook": {"url": url}},
        }
    )
    return Settings(home, config, stack)


class Traffic:
    """Publishes clean events, predictions and labels; `wrong` is the share of wrong answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._random = Random(5)
        self._start = datetime.now(UTC) - timedelta(minutes=5)
        self.number = 0

    async def publish(self, count: int, *, wrong: float = 0.0) -> None:
        """Publish events of 10 ms each, labels last."""
        events, answers, labels = [], [], []
        for number in range(self.number, self.number + count):
            time, id = self._start + timedelta(milliseconds=10 * number), str(number)
            place = Coordinates(self._settings.topic(CLEAN), 0, number)
            clean = Clean(
                stream="requests", kind=Kind.API, source="a", id=id, time=time, raw=place, text="GET /"
            )
            answer = Prediction(
                stream="requests",
                source="a",
                id=id,
                event=place,
                raw=place,
                event_time=time,
                label="sqli" if self._random.random() < wrong else "norm",
                score=0.9,
                model="requests",
                version=1,
                sha256="",
                predicted_at=time,
            )
            label = Label(stream="requests", source="a", id=id, label="norm", labelled_at=time)
            events.append(Outgoing(CLEAN.name, b"a", encode(clean)))
            answers.append(Outgoing(PREDICTIONS.name, b"a", encode(answer)))
            labels.append(Outgoing(LABELS.name, b"a", encode(label)))
        self.number += count
        async with Publisher(self._settings) as publisher:
            for records in (events, answers, labels):
                await publisher.send_all(records)


async def test_a_drift_is_raised_delivered_and_not_raised_again_by_a_restart(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """The alert is written and posted once, though the webhook failed first and the worker restarted."""
    async with receiving(failures=2) as receiver:
        settings = configured(stack, unique, tmp_path, receiver.url)
        await create_topics(settings)
        traffic = Traffic(settings)
        await traffic.publish(1500, wrong=0.02)
        async with working(settings):
            await aeventually(lambda: labels_seen(settings, 1500), timeout_s=60)
        assert await written_alerts(settings) == []
        await traffic.publish(200, wrong=0.5)  # while nobody watches
        async with working(settings):
            await aeventually(lambda: raised(settings, 1), timeout_s=60)
            await aeventually(lambda: posted(receiver, 1), timeout_s=60)
        await traffic.publish(200, wrong=0.5)
        async with working(settings):
            await aeventually(lambda: labels_seen(settings, 1900), timeout_s=60)
        (alert,) = await written_alerts(settings)
        assert alert.signal is Signal.ERROR
        assert [post["key"] for post in receiver.posts] == [alert.id]
        assert receiver.refused == 2
        assert "error rate rose" in receiver.posts[0]["text"]
        assert receiver.posts[0]["alert"]["id"] == alert.id


async def test_an_alert_saved_but_not_sent_is_sent_once_after_a_crash(
    stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dying between saving and sending loses no alert, dying right after sending doubles none."""
    settings = configured(stack, unique, tmp_path)
    await create_topics(settings)
    traffic = Traffic(settings)
    await traffic.publish(1500, wrong=0.02)
    await traffic.publish(200, wrong=0.5)
    write = AlertLog.write

    async def die(log: AlertLog, alerts: list[DriftAlert], positions: dict[Any, int]) -> None:
        if alerts:
            raise RuntimeError("killed here")
        await write(log, alerts, positions)

    monkeypatch.setattr(AlertLog, "write", die)
    with pytest.raises(RuntimeError, match="killed here"):
        await asyncio.wait_for(drift.DriftWorker(settings).run(), timeout=60)
    monkeypatch.undo()
    kept = (tmp_path / "drift" / f"{unique}.watch.msgpack").read_bytes()
    assert await written_alerts(settings) == []
    async with working(settings):
        await aeventually(lambda: raised(settings, 1), timeout_s=60)
    (tmp_path / "drift" / f"{unique}.watch.msgpack").write_bytes(
        kept
    )  # as if it had died right after sending
    await forget_levels(settings)
    async with working(settings):
        await aeventually(lambda: labels_seen(settings, 1700), timeout_s=60)
    assert len(await written_alerts(settings)) == 1


async def test_unreadable_and_foreign_records_stop_nothing(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Broken JSON and streams that nobody configured are left out, and the rest is watched."""
    settings = configured(stack, unique, tmp_path)
    await create_topics(settings)
    foreign = Label(stream="elsewhere", source="a", id="1", label="x", labelled_at=datetime.now(UTC))
    async with Publisher(settings) as publisher:
        await publisher.send(Outgoing(LABELS.name, b"a", b"{broken"))
        await publisher.send(Outgoing(LABELS.name, b"a", encode(foreign)))
        await publisher.send(Outgoing(ALERTS.name, b"a", b"{broken"))
    await Traffic(settings).publish(50)
    async with working(settings):
        await aeventually(lambda: labels_seen(settings, 50), timeout_s=60)


async def test_a_second_worker_takes_over_and_the_first_stops(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Two workers cannot both write: the older one is fenced and says so."""
    settings = configured(stack, unique, tmp_path)
    await create_topics(settings)
    first = AlertLog(settings)
    second = AlertLog(settings)
    await first.start()
    await second.start()
    try:
        with pytest.raises(Fatal, match="another drift worker"):
            await first.write([], {TopicPartition(settings.topic(LABELS), 0): 1})
        await second.write([], {TopicPartition(settings.topic(LABELS), 0): 1})
    finally:
        await first.stop()
        await second.stop()


async def test_redis_away_stops_nothing(stack: Endpoints, unique: str, tmp_path: Path) -> None:
    """Without Redis there are no levels, and alerts are raised all the same."""
    nowhere = Endpoints(stack.kafka, "redis://127.0.0.1:1/0", stack.clickhouse)
    settings = configured(nowhere, unique, tmp_path)
    await create_topics(settings)
    traffic = Traffic(settings)
    await traffic.publish(1500, wrong=0.02)
    await traffic.publish(200, wrong=0.5)
    async with working(settings):
        await aeventually(lambda: raised(settings, 1), timeout_s=60)


async def labels_seen(settings: Settings, count: int) -> bool:
    """Tell whether the board shows so many labels."""
    levels = await read_levels(settings)
    return bool(levels) and levels[0].labels >= count


async def forget_levels(settings: Settings) -> None:
    """Clear the board, so that what is read next was published after this."""
    client = connect(settings)
    await client.delete(level_key(settings.config.topic_prefix, "requests"))
    await client.aclose()


async def raised(settings: Settings, count: int) -> bool:
    """Tell whether so many alerts are on the topic."""
    return len(await written_alerts(settings)) >= count


async def posted(receiver: Receiver, count: int) -> bool:
    """Tell whether so many posts were taken."""
    return len(receiver.posts) >= count
