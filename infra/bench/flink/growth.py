"""How the cleaning job grows: consumes numbers of tasks and of remembered identities, produces its rates.

Each cell is a cluster of its own, with topics of its own on one broker. The identities lie in `dedupe.log`
before the job starts, as another engine would have left them; the job takes them into its state while it
warms up, untimed. Then as in `headrace bench streams`: the clock runs from the commit that makes the timed
events visible to the last committed output, and every output is checked.
"""

import asyncio
import os
import shutil
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer

from infra.bench.stack import Say
from infra.bench.streams import flink
from infra.bench.streams.channel import Names
from infra.bench.streams.engines import Engine, Place, Started
from infra.bench.streams.events import EventStream, generate
from infra.bench.streams.measure import Measured, measure
from infra.bench.streams.rounds import broker
from infra.flink.errors import FlinkError
from infra.flink.rest import Checkpoint, Rest
from infra.runtime.kafka import lifecycle
from infra.runtime.settings import DEFAULT_CONFIG, parse
from schemas import topics
from schemas.errors import HeadraceError
from streams.operators.fingerprints import FINGERPRINT_BYTES
from streams.operators.pipeline import CleanPipeline

STREAM: Final = "host"
"""The stream of the built-in configuration that readings belong to."""

_A_RECORD: Final = 32_768
_LOOK_EVERY_S: Final = 0.5
_WARM_UP: Final = 0.6
_MARGIN_S: Final = 60
_BASE_MB: Final = 1536
_SLOT_MB: Final = 512


@dataclass(frozen=True)
class GrowthPlan:
    """What is run: each of `keys` (millions of identities) with each of `tasks`."""

    home: Path
    keys: Sequence[float] = (1, 10, 50)
    tasks: Sequence[int] = (1, 2, 4)
    events: int = 600_000
    partitions: int = 4


@dataclass
class Cell:
    """What one cell came to; `failed` says why it came to nothing."""

    keys: int
    tasks: int
    measured: Measured | None = None
    checkpoints: list[Checkpoint] = field(default_factory=list)
    failed: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the figures: events a second, checkpoints' sizes (bytes) and durations (ms)."""
        told: dict[str, Any] = {"keys": self.keys, "tasks": self.tasks}
        if self.measured is None:
            return {**told, "failed": self.failed}
        sizes = [checkpoint.size_bytes for checkpoint in self.checkpoints]
        times = sorted(checkpoint.duration_ms for checkpoint in self.checkpoints)
        return {
            **told,
            "events_per_s": round(self.measured.events_per_s),
            "cpu_us_per_event": round(1e6 * self.measured.cpu_s / self.measured.events, 2),
            "lost": self.measured.lost,
            "doubled": self.measured.doubled,
            "checkpoints": len(times),
            "checkpoint_bytes": max(sizes, default=0),
            "checkpoint_ms": {
                "median": times[len(times) // 2] if times else None,
                "longest": times[-1] if times else None,
            },
        }


def grow(plan: GrowthPlan, say: Say) -> dict[str, Any]:
    """Run every cell, the smallest first, and return the figures; a cell that fails is said, others go on.

    Raises:
        StackError: the broker did not start.
    """
    total = int(plan.events * (1 + _WARM_UP))
    now = datetime.now(UTC).replace(microsecond=0)
    say(f"making {total:,} events")
    stream = generate(total, now - timedelta(seconds=total // 1000 + _MARGIN_S))
    cells = []
    with broker(plan.home / "stack", say) as stack:
        for millions in sorted(plan.keys):
            for tasks in plan.tasks:
                cell = Cell(int(millions * 1e6), tasks)
                say(f"{cell.keys:,} identities, {tasks} tasks")
                try:
                    asyncio.run(_measured(plan, cell, stack.endpoints.kafka, stream, say))
                except (HeadraceError, OSError) as error:
                    cell.failed = str(error)
                    say(f"  failed: {error}")
                else:
                    say(f"  {cell.as_json().get('events_per_s', 0):,} events/s")
                cells.append(cell)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "partitions": plan.partitions,
        "events": plan.events,
        "cells": [cell.as_json() for cell in cells],
    }


async def _measured(plan: GrowthPlan, cell: Cell, kafka: str, stream: EventStream, say: Say) -> None:
    folder = plan.home / "run" / f"{cell.keys}-{cell.tasks}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = Names(f"grow-{uuid.uuid4().hex[:8]}.", plan.partitions)
    place = Place(kafka, names, folder, plan.home / "environments", say)
    watched = _Watched(cell)
    engine = Engine("growth", "Headrace on Flink", "exactly once", 1.0, watched.start, warm_up=_WARM_UP)
    try:
        cell.measured = await measure(engine, place, stream, plan.events, watched.begin)
    finally:
        watched.end()
        shutil.rmtree(folder / "flink" / "checkpoints", ignore_errors=True)


class _Watched:
    """Starts a cell's cluster, and notes its checkpoints while the timed events are cleaned."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._address = ""
        self._over = threading.Event()
        self._noting = threading.Thread(target=self._note, daemon=True)

    def start(self, place: Place) -> Started:
        """Fill `dedupe.log` and lay the cluster out."""
        asyncio.run(fill(place.kafka, place.names, self._cell.keys))
        config = place.folder / "headrace.toml"
        config.write_text(f'topic_prefix = "{place.names.prefix}"\n{DEFAULT_CONFIG}', encoding="utf-8")
        arguments = ["--bootstrap", place.kafka, "--config", str(config), "--checkpoint-ms", "1000"]
        size = flink.Size(self._cell.tasks, _BASE_MB + _SLOT_MB * self._cell.tasks)
        cluster = flink.headrace(place.folder / "flink", arguments, place.say, size)
        self._address = cluster.address
        return Started(cluster.processes, cluster.leases)

    def begin(self, _: Sequence[int]) -> None:
        """Note checkpoints from here on."""
        self._noting.start()

    def end(self) -> None:
        """Note none any more."""
        self._over.set()
        if self._noting.ident is not None:
            self._noting.join()

    def _note(self) -> None:
        known: set[int] = set()
        with Rest(self._address) as rest:
            while not self._over.wait(_LOOK_EVERY_S):
                try:
                    jobs = rest.jobs()
                except FlinkError:
                    return  # the cluster was stopped: all there is was noted
                for checkpoint in (job.checkpoint for job in jobs if job.checkpoint is not None):
                    if checkpoint.id not in known:
                        known.add(checkpoint.id)
                        self._cell.checkpoints.append(checkpoint)


async def fill(kafka: str, names: Names, keys: int) -> None:
    """Write identities that nobody has to `dedupe.log`, spread over its partitions."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=20, max_request_size=4 * 2**20)
    topic = names.prefix + topics.DEDUPE_LOG.name
    async with lifecycle.connected(producer):
        sent: list[asyncio.Future[Any]] = []
        for number, record in enumerate(_records(keys)):
            sent.append(await producer.send(topic, record, partition=number % names.partitions))
            if len(sent) == 64:
                await asyncio.gather(*sent)
                sent.clear()
        await asyncio.gather(*sent)


def _records(keys: int) -> Iterator[bytes]:
    """Yield records of the log, of the present moment: drawn fingerprints are as good as an identity's."""
    memory = CleanPipeline(parse(DEFAULT_CONFIG, "the built-in configuration").streams).memories[STREAM]
    memory.advance(time.time())
    bucket, _ = memory.delta()
    for first in range(0, keys, _A_RECORD):
        packed = os.urandom(min(_A_RECORD, keys - first) * FINGERPRINT_BYTES)
        yield msgspec.msgpack.encode([(STREAM, memory.bucket_s, bucket, packed)])
