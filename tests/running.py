"""Workers in the test's own process, with topics, a database and a data folder of their own."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Final, TypeVar

import pytest

from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, parse
from schemas import codec, topics
from schemas.errors import Retryable
from schemas.record import Outgoing
from schemas.release import Release
from schemas.topics import Topic
from serving.gateway.app import run
from tests.waiting import aeventually

T = TypeVar("T")

STREAMS: Final = """
[streams.requests]
kind = "api"
[streams.host]
kind = "sensor"
[streams.logs]
kind = "log"
"""
JUDGED: Final = """
[streams.requests]
kind = "api"
[streams.requests.model]
[streams.host]
kind = "sensor"
[streams.host.model]
task = "anomaly"
[streams.logs]
kind = "log"
[streams.logs.model]
"""
"""The same, each with a model."""


def settings_of(stack: Endpoints, name: str, folder: Path, streams: str) -> Settings:
    """Return settings whose topics and database are called after `name`."""
    config = parse(f'topic_prefix = "{name}."\ndatabase = "{name}"\n{streams}', "the test")
    return Settings(folder, config, stack)


@contextlib.asynccontextmanager
async def beside(work: Awaitable[None]) -> AsyncIterator[asyncio.Future[None]]:
    """Run a worker beside the test, then stop it as a signal does."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # how it ends
            await task


@contextlib.asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[dict[str, str]]:
    """Run a gateway on free ports; gives its record: `url` and `grpc`. It takes the record with it."""
    record = settings.home / "gateway.json"

    async def listening() -> bool:
        return record.is_file() or task.done()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADRACE_GATEWAY_PORT", "0")
        patch.setenv("HEADRACE_GATEWAY_GRPC_PORT", "0")
        async with beside(run(settings)) as task:
            await aeventually(listening, timeout_s=30)
            yield json.loads(record.read_bytes())
    assert not record.exists()


async def announce(settings: Settings, release: Release) -> None:
    """Announce a release as the trainer does."""
    async with Publisher(settings) as publisher:
        await publisher.send(Outgoing(topics.RELEASES.name, release.model.encode(), codec.encode(release)))


async def read(settings: Settings, topic: Topic, contract: type[T]) -> list[T]:
    """Read a topic whole, committed records only; one that is so new that brokers do not know it is empty."""
    records = follow(settings, [topic], stop_at_end=True)
    try:
        return [codec.decode(record.value or b"", contract) async for record in records]
    except Retryable:
        return []
