"""Releases whose store is away: tried again after growing pauses, until they come or another is announced."""

import asyncio
import contextlib
from datetime import UTC, datetime

from infra.runtime.object_store import StoreAway
from schemas.release import Release, State
from serving.awaited import Awaited


def release(version: int) -> Release:
    """An announcement."""
    return Release(
        model="m", stream="m", version=version, uri=f"s3://b/m/{version}", sha256=f"{version}",
        state=State.RELEASED, created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


class World:
    """A store that is away for the versions in `away`; pauses pass at once, and end after `most`."""

    def __init__(self, *away: int, most: int = 8) -> None:
        self.away = set(away)
        self.tried: list[int] = []
        self.told: list[int] = []
        self.pauses: list[float] = []
        self.most = most
        self.awaited = Awaited(lambda one, _error: self.told.append(one.version))

    async def work(self, one: Release) -> bool:
        """Load a release."""
        self.tried.append(one.version)
        if one.version in self.away:
            raise StoreAway("away")
        return True

    async def sleep(self, seconds: float) -> None:
        """Let time pass; at the end, for ever."""
        self.pauses.append(seconds)
        if len(self.pauses) > self.most:
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def running(self):
        """The retries as a task."""
        task = asyncio.create_task(self.awaited.run(self.sleep))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_pauses_grow_and_it_is_told_once() -> None:
    """1, 2, 4, … up to 30 seconds; whoever reads of it reads it once."""
    world = World(1)
    async with world.running():
        assert not await world.awaited.attempt("m", release(1), world.work)
        while len(world.pauses) <= world.most:
            await asyncio.sleep(0)
    assert world.pauses[:8] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert world.told == [1]
    assert world.tried == [1] * 9


async def test_it_is_loaded_once_when_the_store_is_back() -> None:
    """Then nothing waits any more, and the next one begins with a short pause."""
    world = World(1)
    async with world.running():
        await world.awaited.attempt("m", release(1), world.work)
        while len(world.tried) < 4:
            await asyncio.sleep(0)
        world.away.clear()
        while len(world.tried) < 5:
            await asyncio.sleep(0)
        world.away.add(2)
        await world.awaited.attempt("m", release(2), world.work)
        while world.tried.count(2) < 2:
            await asyncio.sleep(0)
    assert world.tried.count(1) == 5
    assert world.pauses[4] == 1


async def test_what_is_announced_later_takes_its_place() -> None:
    """An older release does not come back over a newer one."""
    world = World(1)
    await world.awaited.attempt("m", release(1), world.work)
    assert await world.awaited.attempt("m", release(2), world.work)
    world.away.clear()
    async with world.running():
        while len(world.pauses) < 1:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
    assert world.tried == [1, 2]
