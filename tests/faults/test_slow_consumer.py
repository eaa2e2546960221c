"""A slow ClickHouse: the sink takes no more than it can pass on; its memory does not follow the backlog."""

import asyncio
import signal

import msgspec
import pytest

from infra.cli.worker import Worker
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from schemas import topics
from schemas.clean import Clean
from schemas.codec import encode
from schemas.examples import CONTRACTS
from schemas.record import Outgoing
from tests.faults.rig import Rig, once

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]

EVENTS = 5000
EVENT_BYTES = 40_000
LIMIT_BYTES = 150 * 1024 * 1024


async def test_memory_is_bounded_while_the_topics_hold_what_comes(rig: Rig) -> None:
    """200 MB wait for a ClickHouse that works a tenth of the time: the sink stays small, rows come once."""
    await create_topics(rig.settings)
    rig.start(Worker.SINK)
    await _publish(rig, 0, 20)
    await rig.stored(20)
    sink = rig.process(Worker.SINK.value)
    at_rest = sink.memory_info().rss
    slow = asyncio.create_task(_slowed(rig))
    try:
        await _publish(rig, 20, EVENTS)
        held = await rig.topic_ids(topics.CLEAN)
        assert len(held) == EVENTS
        grown = [sink.memory_info().rss - at_rest]
        while not slow.done():
            grown.append(sink.memory_info().rss - at_rest)
            await asyncio.sleep(0.1)
    finally:
        rig.stack.kill("clickhouse", signal.SIGCONT)
        slow.cancel()
    assert max(grown) < LIMIT_BYTES
    await rig.stored(EVENTS)
    assert await rig.row_ids() == once(range(EVENTS))


async def _slowed(rig: Rig) -> None:
    """Let ClickHouse work a tenth of the time, for some rounds."""
    for _ in range(6):
        rig.stack.kill("clickhouse", signal.SIGSTOP)
        await asyncio.sleep(0.9)
        rig.stack.kill("clickhouse", signal.SIGCONT)
        await asyncio.sleep(0.1)


async def _publish(rig: Rig, first: int, last: int) -> None:
    example = msgspec.structs.replace(CONTRACTS[Clean], text="x" * EVENT_BYTES)
    async with Publisher(rig.settings, linger_ms=5) as publisher:
        for start in range(first, last, 50):
            await publisher.send_all(
                [
                    Outgoing(
                        topics.CLEAN.name,
                        b"%d" % (number % 8),
                        encode(msgspec.structs.replace(example, id=str(number))),
                    )
                    for number in range(start, min(last, start + 50))
                ]
            )
