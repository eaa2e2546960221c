"""Joining concurrent requests into few produce calls."""

import asyncio
from collections.abc import Sequence

import pytest

from schemas.errors import Fatal, Retryable
from schemas.record import Coordinates, Outgoing
from serving.gateway.microbatch import MicroBatcher, Unsent


class Memory:
    """A sink that keeps its calls, and waits at a gate."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.offset = 0
        self.error: Exception | None = None

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        self.calls.append(len(records))
        self.entered.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        first = self.offset
        self.offset += len(records)
        return [Coordinates(record.value.decode(), 0, first + i) for i, record in enumerate(records)]


def record(name: str) -> Outgoing:
    """Build a record."""
    return Outgoing("events.raw", b"k", name.encode())


async def test_requests_that_come_meanwhile_leave_together():
    """While one call is under way the others gather; each gets the coordinates of its own records."""
    memory = Memory()
    batcher = MicroBatcher(memory)
    batcher.start()
    first = asyncio.create_task(batcher.publish([record("a")]))
    await memory.entered.wait()
    others = [asyncio.create_task(batcher.publish([record(f"{i}x"), record(f"{i}y")])) for i in range(5)]
    await asyncio.sleep(0)
    memory.gate.set()
    answers = await asyncio.gather(first, *others)
    assert memory.calls == [1, 10]
    assert [[c.topic for c in answer] for answer in answers] == [
        ["a"],
        *[[f"{i}x", f"{i}y"] for i in range(5)],
    ]
    await batcher.stop()


async def test_failure_reaches_every_request_and_the_next_goes_on():
    """A failed call fails the requests in it and no other; it does not pass for a Kafka that is away."""
    memory = Memory()
    memory.gate.set()
    memory.error = ValueError("broken")
    batcher = MicroBatcher(memory)
    batcher.start()
    with pytest.raises(Unsent, match="broken"):
        await batcher.publish([record("a")])
    memory.error = None
    assert len(await batcher.publish([record("b")])) == 1
    await batcher.stop()


async def test_stop_tells_those_who_wait():
    """Nobody waits for ever for a gateway that has stopped."""
    memory = Memory()
    batcher = MicroBatcher(memory)
    batcher.start()
    under_way = asyncio.create_task(batcher.publish([record("a")]))
    await memory.entered.wait()
    waiting = asyncio.create_task(batcher.publish([record("b")]))
    await asyncio.sleep(0)
    await batcher.stop()
    results = await asyncio.gather(under_way, waiting, return_exceptions=True)
    assert all(isinstance(result, Retryable) for result in results)
    with pytest.raises(Fatal):
        await batcher.publish([record("c")])


async def test_request_that_gave_up_harms_nobody():
    """A request cancelled while it waited does not disturb its batch mates."""
    memory = Memory()
    batcher = MicroBatcher(memory)
    batcher.start()
    first = asyncio.create_task(batcher.publish([record("a")]))
    await memory.entered.wait()
    gone, stays = (asyncio.create_task(batcher.publish([record(name)])) for name in "bc")
    await asyncio.sleep(0)
    gone.cancel()
    memory.gate.set()
    await first
    assert (await stays)[0].topic == "c"
    await batcher.stop()
