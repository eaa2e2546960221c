"""The dedupe benchmark's child processes: consume an order on their command line, produce a line of JSON.

`fill` writes the state, the log and the snapshot and then waits for its kill; `recover` is the worker that
comes after it. Both hold what a `streams` worker holds: its modules are loaded as well.
"""

import asyncio
import importlib
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from infra.bench.dedupe.lane import BATCH, PARTITIONS, Lane, Timers, config, keys_of, look_up, memory_bytes
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.settings import Endpoints, Settings
from schemas import topics
from streams.apps.recovery import restore, snapshot_writer, update

_SAMPLES: Final = 100
_SNAPSHOT_AT: Final = 0.98
_EXPIRING_BATCHES: Final = 100


class Order(msgspec.Struct, frozen=True):
    """What a child is to do. `ends_s` is the moment, in simulated time, at which the last key comes."""

    task: str
    home: str
    kafka: str
    prefix: str
    keys: int
    ends_s: float

    def settings(self) -> Settings:
        """Return the worker's settings."""
        return Settings(Path(self.home), config(self.prefix), Endpoints(self.kafka, "", ""))


class _Log:
    """Writes `dedupe.log` with the simulated time, as the worker's transactions do with the real one."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._builders: dict[int, BatchBuilder] = {}
        self._sent: list[asyncio.Future[Any]] = []

    async def append(self, partition: int, value: bytes, now_s: float) -> None:
        builder = self._builders.get(partition) or self._producer.create_batch()
        if builder.append(key=None, value=value, timestamp=int(now_s * 1000)) is None:
            await self._send(partition, builder)
            builder = self._producer.create_batch()
            builder.append(key=None, value=value, timestamp=int(now_s * 1000))
        self._builders[partition] = builder

    async def flush(self) -> None:
        """Wait until the brokers have everything."""
        for partition, builder in self._builders.items():
            await self._send(partition, builder)
        self._builders.clear()
        await asyncio.gather(*self._sent)
        self._sent.clear()

    async def _send(self, partition: int, builder: BatchBuilder) -> None:
        self._sent.append(await self._producer.send_batch(builder, self._topic, partition=partition))
        if len(self._sent) >= 8:
            await asyncio.gather(*self._sent)
            self._sent.clear()


def _batches(order: Order, window_s: float) -> Iterator[tuple[int, int, float, int]]:
    """Yield each batch's first key, size, moment and partition: over the whole window, partitions in turn."""
    for number, first in enumerate(range(0, order.keys, BATCH)):
        moment = order.ends_s - window_s * (1 - first / order.keys)
        yield first, min(BATCH, order.keys - first), moment, number % PARTITIONS


def _say(**fields: Any) -> None:
    sys.stdout.write(msgspec.json.encode(fields).decode() + "\n")
    sys.stdout.flush()


async def fill(order: Order) -> None:
    """Fill state and log over a whole window; measure; snapshot most of it; say so; wait to be killed."""
    settings = order.settings()
    lanes = [Lane(settings) for _ in range(PARTITIONS)]
    timers, late = Timers(), Timers()
    wrong, fingerprint_s, snapshot_s = 0, 0.0, 0.0
    producer = AIOKafkaProducer(
        bootstrap_servers=order.kafka, enable_idempotence=True, max_batch_size=1024 * 1024, linger_ms=0
    )
    async with connected(producer):
        log = _Log(producer, settings.topic(topics.DEDUPE_LOG))
        snapshot_after = int(order.keys * _SNAPSHOT_AT)
        for first, count, moment, partition in _batches(order, lanes[0].dedupe.window_s):
            began = time.perf_counter()
            keys = keys_of(first, count)
            fingerprint_s += time.perf_counter() - began
            lane = lanes[partition]
            last_tenth = first >= order.keys * 0.9
            seen, record = lane.batch(keys, moment, late if last_tenth else timers)
            wrong += seen
            await log.append(partition, record, moment)
            if first // 1_000_000 != (first + count) // 1_000_000:
                _say(filled=first + count, rss_bytes=memory_bytes("VmRSS"))
            if first < snapshot_after <= first + count:
                await log.flush()
                snapshot_s = await _snapshot(settings, lanes, moment)
        await log.flush()
    hit, miss, missed, invented = _probe(order, lanes)
    late_keys = max(1, order.keys - int(order.keys * 0.9))
    table_bytes = sum(lane.dedupe.size_bytes for lane in lanes)
    _say(
        done=True,
        rss_bytes=memory_bytes("VmHWM"),
        rss_now_bytes=memory_bytes("VmRSS"),
        table_bytes=table_bytes,
        remembered=sum(len(lane.dedupe) for lane in lanes),
        fingerprint_us=fingerprint_s / order.keys * 1e6,
        insert_us=(timers.insert.total_s + late.insert.total_s) / order.keys * 1e6,
        insert_last_tenth_us=late.insert.total_s / late_keys * 1e6,
        lookup_us={"hit": hit, "miss": miss},
        pauses=_pauses(timers, late),
        snapshot_write_s=snapshot_s,
        false_positives=wrong + invented,
        false_negatives=missed,
    )
    await asyncio.sleep(3600)


async def _snapshot(settings: Settings, lanes: list[Lane], now_s: float) -> float:
    began = time.perf_counter()
    for partition, lane in enumerate(lanes):
        async with snapshot_writer(settings, partition) as writer:
            await update(
                settings, writer, partition, lane.pipeline.memories, datetime.fromtimestamp(now_s, UTC)
            )
    return time.perf_counter() - began


def _probe(order: Order, lanes: list[Lane]) -> tuple[float, float, int, int]:
    """Look up known and unknown keys; return µs a key of each, and how many answers were wrong."""
    hits, misses = Timers().lookup, Timers().lookup
    batches = max(1, order.keys // BATCH)
    probed = range(0, batches, max(1, batches // _SAMPLES))
    missed = invented = asked = 0
    for number in probed:
        dedupe = lanes[number % PARTITIONS].dedupe
        known = keys_of(number * BATCH, min(BATCH, order.keys - number * BATCH))
        unknown = keys_of(order.keys + number * BATCH, len(known))
        missed += len(known) - len(hits.time(partial(look_up, dedupe, known)))
        invented += len(misses.time(partial(look_up, dedupe, unknown)))
        asked += len(known)
    return hits.total_s / asked * 1e6, misses.total_s / asked * 1e6, missed, invented


def _pauses(*timers: Timers) -> dict[str, dict[str, float]]:
    return {
        kind: {
            "wall": max(getattr(each, kind).longest_s for each in timers) * 1e3,
            "cpu": max(getattr(each, kind).longest_cpu_s for each in timers) * 1e3,
        }
        for kind in ("insert", "lookup", "expire")
    }


async def recover(order: Order) -> None:
    """Restore as a worker does on assignment, check the answers, then let everything expire under traffic."""
    settings = order.settings()
    now = datetime.fromtimestamp(order.ends_s, UTC)
    lanes = [Lane(settings) for _ in range(PARTITIONS)]
    began = time.perf_counter()
    restored = 0
    for partition, lane in enumerate(lanes):
        restored += await restore(settings, lane.pipeline, partition, now)
    recovery_s = time.perf_counter() - began
    _, _, missed, invented = _probe(order, lanes)
    peak = memory_bytes("VmHWM")
    timers = Timers()
    if order.task == "recover+expire":
        _expire(order, lanes, timers)
    _say(
        done=True,
        recovery_s=recovery_s,
        restored=restored,
        rss_bytes=peak,
        false_positives=invented,
        false_negatives=missed,
        remembered_after_expiry=sum(len(lane.dedupe) for lane in lanes),
        rss_after_expiry_bytes=memory_bytes("VmRSS"),
        pauses=_pauses(timers),
    )


def _expire(order: Order, lanes: list[Lane], timers: Timers) -> None:
    """Go a window further, bucket by bucket, with some traffic; then a window at once."""
    dedupe = lanes[0].dedupe
    window_s, number = dedupe.window_s, 0
    batches = max(1, min(_EXPIRING_BATCHES, order.keys // (17 * BATCH * 8)))
    for step in range(1, 18 * batches + 1):
        moment = order.ends_s + step * dedupe.bucket_s / batches
        for lane in lanes:
            lane.batch(keys_of(2 * order.keys + number, BATCH), moment, timers)
            number += BATCH
    for step in range(2, 400):
        for lane in lanes:
            timers.expire.time(partial(lane.dedupe.advance, order.ends_s + step * 2 * window_s))


def main() -> None:
    """Run the order given as JSON."""
    order = msgspec.json.decode(sys.argv[1], type=Order)
    importlib.import_module("streams.engines.faust")  # a worker's memory includes its engine
    asyncio.run(fill(order) if order.task == "fill" else recover(order))


if __name__ == "__main__":
    main()
