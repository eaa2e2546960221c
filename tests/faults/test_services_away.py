"""Services that go away and come back: topics hold what comes, nothing is lost or doubled, answers go on."""

import asyncio
import time

import pytest

from infra.cli.worker import Worker
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from schemas import codec, topics
from schemas.record import Outgoing
from tests.faults.rig import Rig, once, passed
from tests.unit.serving.releases import lay_out, tiny_text

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]

AWAY_S = 3.0
"""How long a service is away; the same code holds for a minute, which a test suite has not."""


async def test_a_killed_broker_costs_nothing(rig: Rig) -> None:
    """Kafka gets kill -9 while events flow and come back: every event is clean and in ClickHouse, once."""
    await create_topics(rig.settings)
    rig.start(Worker.STREAMS, Worker.SINK)
    await rig.publish(0, 2000)
    await rig.reached(topics.CLEAN, 1)
    before, begun = rig.restarts("kafka"), asyncio.Event()
    publishing = asyncio.create_task(rig.publish(2000, 6000, begun))
    await begun.wait()
    rig.stack.kill("kafka")
    await rig.returned("kafka", before)
    await publishing
    await rig.reached(topics.CLEAN, 6000)
    await rig.stored(6000)
    assert await rig.topic_ids(topics.CLEAN) == once(range(6000))
    assert await rig.row_ids() == once(range(6000))


async def test_clickhouse_may_be_away(rig: Rig) -> None:
    """While ClickHouse is stopped the cleaning goes on and the topics hold; then every row comes, once."""
    await create_topics(rig.settings)
    rig.start(Worker.STREAMS, Worker.SINK)
    await rig.publish(0, 1000)
    await rig.stored(1)
    await asyncio.to_thread(rig.stack.remove_worker, "clickhouse")
    gone = time.monotonic()
    try:
        await rig.publish(1000, 4000)
        await rig.reached(topics.CLEAN, 4000)
        await passed(gone, AWAY_S)
    finally:
        await asyncio.to_thread(rig.stack.add_worker, rig.spec("clickhouse"))
    await rig.stored(4000)
    assert await rig.row_ids() == once(range(4000))
    assert "warehouse.away" in rig.log(Worker.SINK) or "insert.failed" in rig.log(Worker.SINK)
    assert rig.restarts(Worker.SINK.value) == 0


async def test_answers_go_on_without_redis(rig: Rig) -> None:
    """Redis is stopped: inference answers every event once from its model, and uses Redis again later."""
    await create_topics(rig.settings)
    release = lay_out(rig.home / "releases", tiny_text(1), model="logs", version=1)
    async with Publisher(rig.settings) as publisher:
        await publisher.send(Outgoing(topics.RELEASES.name, b"logs", codec.encode(release)))
    rig.start(Worker.STREAMS, Worker.SERVING)
    await rig.publish(0, 500)
    await rig.reached(topics.PREDICTIONS, 500)
    await asyncio.to_thread(rig.stack.remove_worker, "redis")
    gone = time.monotonic()
    try:
        await rig.publish(500, 1500)
        await rig.reached(topics.PREDICTIONS, 1500)
        await passed(gone, AWAY_S)
        await rig.publish(1500, 2000)
        await rig.reached(topics.PREDICTIONS, 2000)
    finally:
        await asyncio.to_thread(rig.stack.add_worker, rig.spec("redis"))
    await rig.publish(2000, 2500)
    await rig.reached(topics.PREDICTIONS, 2500)
    assert await rig.topic_ids(topics.PREDICTIONS) == once(range(2500))
    assert rig.restarts(Worker.SERVING.value) == 0
