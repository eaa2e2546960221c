"""What the fault tests share: real workers on a stack that may be broken, and every id counted at its end."""

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from infra.bench.chaos.watch import named
from infra.cli.worker import Worker
from infra.local.cache import cache_spec
from infra.local.process import ProcessSpec
from infra.local.stack import Stack
from infra.local.warehouse.spec import warehouse_spec
from infra.local.workers import worker_specs
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings, load
from infra.runtime.warehouse import Warehouse
from schemas import topics
from schemas.errors import HeadraceError
from schemas.raw import LogLine, structured
from schemas.record import Kind, Outgoing
from schemas.topics import Topic
from tests.installation import environment_of
from tests.waiting import aeventually

CONFIG = """
topic_prefix = "{name}."
database = "{name}"
[streams.logs]
kind = "log"
[streams.logs.model]
"""


class Rig:
    """One installation with its own topics and database, and the workers that a test starts in it."""

    def __init__(self, stack: Stack, name: str, home: Path) -> None:
        self.stack = stack
        self.home = home
        self._started: list[str] = []
        self._environment = environment_of(stack.endpoints, home, CONFIG.format(name=name))
        self.settings: Settings = load(self._environment)

    def start(self, *workers: Worker) -> None:
        """Start workers; the supervisor brings back those that end by themselves."""
        for spec in worker_specs(self.home, self._environment["HEADRACE_CONFIG"], workers):
            self.stack.add_worker(dataclasses.replace(spec, env={**spec.env, **self._environment}))
            self._started.append(spec.name)

    def end(self) -> None:
        """Stop the workers."""
        for name in reversed(self._started):
            self.stack.remove_worker(name)

    def process(self, name: str) -> psutil.Process:
        """Return a service's or worker's process."""
        pid = next(state.pid for state in self.stack.processes() if state.name == name)
        assert pid is not None
        return psutil.Process(pid)

    def restarts(self, name: str) -> int:
        """Return how often a process was started again."""
        return next(state.restarts for state in self.stack.processes() if state.name == name)

    def log(self, worker: Worker) -> str:
        """Return what a worker has logged."""
        path = self.home / "log" / f"{worker.value}.log"
        return path.read_text() if path.exists() else ""

    def spec(self, service: str) -> ProcessSpec:
        """Say how a service that was stopped is started again, on its data and its port."""
        home = self.stack.home
        port: int = msgspec.json.decode(home.ports.read_bytes())[service]
        made = {"clickhouse": warehouse_spec, "redis": cache_spec}[service]
        return made(home.data(service), port, home.log(service))

    async def publish(self, first: int, last: int, begun: asyncio.Event | None = None) -> None:
        """Publish log lines; returns once the broker has them all. `begun` is set after the first ones."""
        async with Publisher(self.settings, linger_ms=5) as publisher:
            for start in range(first, last, 200):
                await publisher.send_all([raw(number) for number in range(start, min(last, start + 200))])
                if begun is not None:
                    begun.set()

    async def returned(self, name: str, restarts: int) -> None:
        """Wait until a process was started again, more often than `restarts` times, and is ready."""

        async def again() -> bool:
            return self.restarts(name) > restarts

        await aeventually(again, 60)
        await asyncio.to_thread(self.stack.wait_ready, name)

    async def topic_ids(self, topic: Topic) -> Counter[str]:
        """Count every id on a topic, read committed."""
        return Counter(
            [
                named.decode(record.value or b"").id
                async for record in follow(self.settings, [topic], stop_at_end=True)
            ]
        )

    async def row_ids(self, table: str = "events") -> Counter[str]:
        """Count every id in a table; none while ClickHouse or the table is not there."""
        settings = self.settings
        try:
            warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
        except HeadraceError:
            return Counter()
        try:
            rows = await warehouse.query(
                f"SELECT id, count() AS n FROM {warehouse.database}.{table} GROUP BY id"
            )
        except HeadraceError:
            return Counter()
        finally:
            await warehouse.close()
        return Counter({row["id"]: int(row["n"]) for row in rows})

    async def reached(self, topic: Topic, least: int, timeout_s: float = 60.0) -> None:
        """Wait until a topic has so many distinct ids."""

        async def has() -> bool:
            return len(await self.topic_ids(topic)) >= least

        await aeventually(has, timeout_s, every_s=0.4)

    async def stored(self, least: int, timeout_s: float = 60.0) -> None:
        """Wait until ClickHouse has so many distinct events."""

        async def has() -> bool:
            return len(await self.row_ids()) >= least

        await aeventually(has, timeout_s, every_s=0.4)


def raw(number: int) -> Outgoing:
    """Return a log line as an application publishes it."""
    source = f"host/{number % 9}"
    data = LogLine(message=f"request {number} took {number % 97} ms", level="info")
    event = structured(str(number), source, Kind.LOG, data, stream="logs")
    return Outgoing(topics.RAW.name, source.encode(), msgspec.json.encode(event))


def once(numbers: Sequence[int]) -> Counter[str]:
    """Return what a place must hold: every id once."""
    return Counter(dict.fromkeys(map(str, numbers), 1))


async def passed(since_s: float, seconds: float) -> None:
    """Wait until so much time has passed since a moment of the monotonic clock."""

    async def over() -> bool:
        return time.monotonic() - since_s >= seconds

    await aeventually(over, seconds + 5)
