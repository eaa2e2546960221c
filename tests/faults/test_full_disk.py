"""A full disk: a process that can no longer write takes no more, says why, loses nothing and goes on later.

The kernel lets no file of a process grow beyond its RLIMIT_FSIZE, which can be set and lifted from outside
while it runs, on any Linux and without privileges: to the process, that is all the room there is.
"""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from infra.cli.worker import Worker
from infra.runtime.kafka.admin import create_topics
from schemas import topics
from tests.faults.rig import Rig, once
from tests.waiting import eventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]


@contextmanager
def full(process: psutil.Process, room_bytes: int) -> Iterator[None]:
    """Leave the files of a process only so much room, for the length of a block."""
    soft, hard = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
    try:
        yield
    finally:
        if process.is_running():
            process.rlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_under_clickhouse_stops_the_sink_and_loses_nothing(rig: Rig) -> None:
    """Inserts are refused: the sink says so and waits with its batch; with room again all rows come, once."""
    await create_topics(rig.settings)
    rig.start(Worker.STREAMS, Worker.SINK)
    await rig.publish(0, 1000)
    await rig.stored(1000)
    with full(rig.process("clickhouse"), 1024 * 1024):
        await rig.publish(1000, 3000)
        await rig.reached(topics.CLEAN, 3000)
        await asyncio.to_thread(eventually, lambda: len(_refusals(rig)) >= 4, 40)
        held = await rig.row_ids()
        assert held == once(range(1000))
    await rig.stored(3000)
    assert await rig.row_ids() == once(range(3000))
    assert await rig.row_ids("dead") == {}
    assert rig.restarts(Worker.SINK.value) == 0
    assert rig.restarts("clickhouse") == 0


def _refusals(rig: Rig) -> list[str]:
    return [
        line
        for line in rig.log(Worker.SINK).splitlines()
        if "insert.refused" in line and "NOT_ENOUGH_SPACE" in line
    ]


async def test_a_full_disk_under_kafka_is_answered_by_stopping(rig: Rig) -> None:
    """The broker ends rather than acknowledge what it cannot keep; with space again all goes on, once."""
    await create_topics(rig.settings)
    rig.start(Worker.STREAMS, Worker.SINK)
    await rig.publish(0, 1000)
    await rig.reached(topics.CLEAN, 1000)
    before = rig.restarts("kafka")
    with full(rig.process("kafka"), 0):
        publishing = asyncio.create_task(rig.publish(1000, 3000))
        await rig.returned("kafka", before)
    await publishing
    await rig.reached(topics.CLEAN, 3000)
    await rig.stored(3000)
    assert await rig.topic_ids(topics.CLEAN) == once(range(3000))
    assert await rig.row_ids() == once(range(3000))
