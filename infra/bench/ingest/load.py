"""The load of `headrace bench ingest`, a process of its own: publishes on `events.raw` by a schedule.

The loop is open: event n is due at start + n / rate whatever became of the events before it, and its latency
counts from there. A broker that is slow to answer is thus measured, not waited for (no coordinated omission).
Every few milliseconds what is due is laid into one batch a partition and handed to the producer; nobody
waits for acknowledgements before the end, where each must have come.

It says when it starts, as one line of JSON, and at the end what it did.
"""

import asyncio
import sys
import time
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from infra.bench.ingest.events import SOURCES, Maker, partitions, source_of
from infra.bench.ingest.plan import STREAM
from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.fill import MAX_BATCH_BYTES
from schemas.record import Kind

TICK_S: Final = 0.005
_HEAD_START_S: Final = 0.2


class LoadSpec(msgspec.Struct, frozen=True):
    """What to publish; passed as the process's one argument, as JSON."""

    kafka: str
    topic: str
    kind: Kind
    rate: float
    total: int
    streams: tuple[str, ...] = (STREAM,)
    shift_from: tuple[int, ...] = ()


class LoadReport(msgspec.Struct, frozen=True):
    """What was published. `late_ms`: how far behind its schedule the load was at most, and on average."""

    sent: int
    failed: int
    late_ms: float
    mean_late_ms: float
    cpu_s: float
    bytes_sent: int


class Load:
    """Publishes one run's events."""

    def __init__(self, spec: LoadSpec) -> None:
        self._spec = spec
        self._maker = Maker(spec.kind, spec.streams, spec.shift_from)
        self._keys = [source_of(number) for number in range(SOURCES)]
        self._under_way: set[asyncio.Future[Any]] = set()
        self._failed = 0
        self._bytes = 0

    async def run(self) -> LoadReport:
        """Publish everything on time."""
        spec = self._spec
        producer = AIOKafkaProducer(
            bootstrap_servers=spec.kafka,
            client_id="headrace-bench",
            acks="all",
            enable_idempotence=True,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=2 * MAX_BATCH_BYTES,
        )
        async with lifecycle.connected(producer):
            targets = partitions(len(await producer.partitions_for(spec.topic)))
            start_us = int((time.time() + _HEAD_START_S) * 1e6)
            sys.stdout.write(f'{{"start_us":{start_us}}}\n')
            sys.stdout.flush()
            sent, late_s, ticks, worst_s = 0, 0.0, 0, 0.0
            while sent < spec.total:
                due = min(spec.total, int((time.time() * 1e6 - start_us) * spec.rate / 1e6) + 1)
                if due > sent:
                    behind_s = time.time() - start_us / 1e6 - sent / spec.rate
                    late_s, ticks, worst_s = late_s + behind_s, ticks + 1, max(worst_s, behind_s)
                    await self._publish(producer, targets, sent, due, start_us)
                    sent = due
                await asyncio.sleep(TICK_S)
            await asyncio.gather(*self._under_way, return_exceptions=True)
        cpu_s = time.process_time()
        return LoadReport(sent, self._failed, worst_s * 1e3, late_s / max(ticks, 1) * 1e3, cpu_s, self._bytes)

    async def _publish(
        self, producer: AIOKafkaProducer, targets: list[int], first: int, end: int, start_us: int
    ) -> None:
        """Hand the events from `first` up to `end` to the producer."""
        builders: dict[int, BatchBuilder] = {}
        step_us = 1e6 / self._spec.rate
        make, keys = self._maker.make, self._keys
        for sequence in range(first, end):
            number = sequence % SOURCES
            value = make(sequence, start_us + int(sequence * step_us))
            target = targets[number]
            builder = builders.get(target) or builders.setdefault(target, producer.create_batch())
            if builder.append(key=keys[number], value=value, timestamp=None) is None:
                await self._send(producer, builder, target)
                builder = builders[target] = producer.create_batch()
                builder.append(key=keys[number], value=value, timestamp=None)
        for target, builder in builders.items():
            await self._send(producer, builder, target)

    async def _send(self, producer: AIOKafkaProducer, builder: BatchBuilder, partition: int) -> None:
        records = builder.record_count()
        self._bytes += builder.size()
        future = await producer.send_batch(builder, self._spec.topic, partition=partition)
        self._under_way.add(future)

        def settled(done: "asyncio.Future[Any]") -> None:
            self._under_way.discard(done)
            if done.cancelled() or done.exception() is not None:
                self._failed += records

        future.add_done_callback(settled)


def main() -> None:
    """Publish what the argument says: ``python -m infra.bench.ingest.load SPEC``."""
    report = asyncio.run(Load(msgspec.json.decode(sys.argv[1], type=LoadSpec)).run())
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")


if __name__ == "__main__":
    main()
