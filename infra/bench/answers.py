"""What a serving benchmark sends and sees: events on time, and their answers, swaps and dead letters."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, Final

from infra.bench.ingest.generator import cancelled
from infra.cli.worker import Worker
from infra.local.stack import Stack
from infra.local.workers import worker_specs
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings
from schemas import codec, topics
from schemas.clean import Clean
from schemas.errors import Retryable
from schemas.prediction import Prediction
from schemas.record import Outgoing
from schemas.release import Release, Swap
from serving.follow_releases import REJECTED, SWAPPED
from trainers.succession import announcement

_TICK_S: Final = 0.01
_WITHIN_S: Final = 60.0


class Seen:
    """What came of the events: answers with the moment they were in hand, swaps, and dead letters."""

    def __init__(self) -> None:
        self.predictions: list[Prediction] = []
        self.swaps: list[Swap] = []
        self.dead = 0
        self.received_s: dict[str, float] = {}
        self._came = asyncio.Event()

    async def watch(self, settings: Settings) -> None:
        """Follow the topics until cancelled."""
        answers = settings.topic(topics.PREDICTIONS)
        swaps = settings.topic(topics.SWAPS)
        async for record in follow(settings, [topics.PREDICTIONS, topics.SWAPS, topics.DEAD]):
            if record.topic == answers:
                prediction = codec.decode(record.value or b"", Prediction)
                self.predictions.append(prediction)
                self.received_s.setdefault(prediction.id, time.time())
            elif record.topic == swaps:
                self.swaps.append(codec.decode(record.value or b"", Swap))
            else:
                self.dead += 1
            self._came.set()

    def taken_over(self) -> int:
        """Return how many times the worker took a version over."""
        return sum(swap.outcome == SWAPPED for swap in self.swaps)

    def has_taken_over(self, times: int) -> bool:
        """Tell whether it did so often."""
        return self.taken_over() >= times

    @property
    def rejected(self) -> list[str]:
        """Return why releases were rejected."""
        return [swap.message for swap in self.swaps if swap.outcome == REJECTED]

    def decision(self, version: int) -> Swap | None:
        """Return what became of a version: the record that it was taken over, or rejected."""
        decided = (swap for swap in self.swaps if swap.outcome in {SWAPPED, REJECTED})
        return next((swap for swap in decided if swap.version == version), None)

    async def until(self, holds: Callable[[], object], what: str) -> None:
        """Wait for something to hold.

        Raises:
            Retryable: it does not within a minute.
        """
        try:
            async with asyncio.timeout(_WITHIN_S):
                while not holds():
                    self._came.clear()
                    await self._came.wait()
        except TimeoutError:
            raise Retryable(f"{what} did not come within {_WITHIN_S:.0f} s; {self.rejected or ''}") from None


class Load:
    """Publishes clean events on time and remembers when each was due."""

    def __init__(self, publisher: Publisher, events: Iterator[Clean]) -> None:
        self.due_s: dict[str, float] = {}
        self._publisher = publisher
        self._events = events
        self._under_way: set[asyncio.Task[Any]] = set()

    async def burst(self, count: int) -> list[str]:
        """Publish so many at once and return their ids."""
        return await self._send(list(islice(self._events, count)), time.time())

    async def run(self, rate: float) -> None:
        """Publish at a rate until cancelled; what is under way then is still acknowledged."""
        start_s, sent = time.time(), 0
        try:
            while True:
                due = int((time.time() - start_s) * rate) + 1
                if due > sent:
                    events = list(islice(self._events, due - sent))
                    moments = [start_s + (sent + number) / rate for number in range(len(events))]
                    task = asyncio.create_task(self._send(events, *moments))
                    self._under_way.add(task)
                    task.add_done_callback(self._under_way.discard)
                    sent = due
                await asyncio.sleep(_TICK_S)
        finally:
            await asyncio.gather(*self._under_way)

    async def _send(self, events: list[Clean], *moments: float) -> list[str]:
        await self._publisher.send_all(
            [Outgoing(topics.CLEAN.name, event.source.encode(), codec.encode(event)) for event in events]
        )
        ids = [event.id for event in events]
        each = moments if len(moments) == len(ids) else moments * len(ids)
        self.due_s.update(zip(ids, each, strict=True))
        return ids


@asynccontextmanager
async def serving(
    settings: Settings, stack: Stack, release: Release
) -> AsyncIterator[tuple[Publisher, Seen]]:
    """Start the serving worker with a release; gives who publishes to it and who sees what it says."""
    async with Publisher(settings, "headrace-bench", linger_ms=1) as publisher, AsyncExitStack() as opened:
        seen = Seen()
        opened.push_async_callback(cancelled, [asyncio.create_task(seen.watch(settings))])
        await publisher.send(announcement(release))
        (spec,) = worker_specs(settings.home, str(settings.home / "headrace.toml"), (Worker.SERVING,))
        await asyncio.to_thread(stack.add_worker, spec)
        await seen.until(partial(seen.has_taken_over, 1), "the model")
        yield publisher, seen
