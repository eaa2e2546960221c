"""Recovery of dedupe state: consumes a local snapshot and `dedupe.log`, produces a pipeline that remembers.

The log alone is the truth. A snapshot saves reading most of it: it holds the log up to one record, which is
read again and compared before anything else is, so that a snapshot of a log that was since deleted, or cut
short, is never used. Both are read committed: what a killed worker did not commit is in neither.

All of it goes on beside the worker's other work, as a restore may take tens of seconds and members of a group
must answer meanwhile: hashing and reading files happen in a thread, and the log is fetched while its
predecessor's records are taken in.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from infra.runtime.clock import Clock
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas import topics
from schemas.errors import Retryable
from streams.apps.snapshot import Snapshot, SnapshotError, SnapshotWriter, record_digest
from streams.operators.copies import Memory
from streams.operators.dedupe import Dedupe
from streams.operators.fingerprints import FINGERPRINT_BYTES

SNAPSHOT_EVERY_S: Final = 30.0
_REMEMBERED: Final = 2
"""An identity is remembered for the window and up to two buckets. A snapshot keeps one more."""
_PORTION_BYTES: Final = 4 * 1024 * 1024

_log = get_logger(__name__)
T = TypeVar("T")


class Restorable(Protocol):
    """What a state is restored into: `streams.operators.pipeline.CleanPipeline`."""

    @property
    def memories(self) -> Mapping[str, Memory]:
        """What is remembered, by its names in the log."""
        ...

    def restore(self, changelog: Sequence[bytes], now: datetime) -> int:
        """Take in records of the log, oldest first; called again with those that follow."""
        ...


async def restore(settings: Settings, pipeline: Restorable, partition: int, now: datetime) -> int:
    """Rebuild the dedupe state of a partition and return how many fingerprints it was.

    The partition's former owner must be fenced already: the log's present end is where it ends.

    Raises:
        KafkaError: the log cannot be read.
    """
    since = _since(pipeline.memories, now, _REMEMBERED)
    async with _changelog(settings, partition, 2 * _PORTION_BYTES) as (consumer, place):
        end = (await consumer.end_offsets([place]))[place]
        snapshot = await _usable(settings, consumer, place, since)
        if snapshot is None:
            await _seek(consumer, place, min(since.values(), default=now.timestamp()))
        from_snapshot = await _in_thread(_take_in, snapshot, pipeline, since, now) if snapshot else 0
        restored = from_snapshot
        taking: asyncio.Task[int] | None = None
        try:
            async for records in _portions(consumer, place, end):
                if taking is not None:
                    restored += await taking
                values = [record.value for record in records]
                taking = asyncio.create_task(asyncio.to_thread(pipeline.restore, values, now))
        finally:
            if taking is not None:
                await asyncio.wait((taking,))
    restored += taking.result() if taking is not None else 0
    _log.info(
        "dedupe.restored", partition=partition, fingerprints=restored, of_them_from_snapshot=from_snapshot
    )
    return restored


class SnapshotKeeper:
    """Keeps the local snapshots of the partitions that a worker owns up to date with the log, off its way.

    A snapshot is an optimisation: whatever goes wrong with it is logged, and tried again later.
    """

    def __init__(self, settings: Settings, clock: Clock, *, every_s: float = SNAPSHOT_EVERY_S) -> None:
        self._settings = settings
        self._clock = clock
        self._every_s = every_s
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def keep(self, partition: int, memories: Mapping[str, Memory]) -> None:
        """Begin with a partition, in the running loop; of the memories only the windows matter."""
        if partition not in self._tasks:
            self._tasks[partition] = asyncio.create_task(self._keep(partition, memories))

    async def drop(self, partition: int) -> None:
        """Stop with a partition; what its snapshot lacks, the log has."""
        task = self._tasks.pop(partition, None)
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _keep(self, partition: int, memories: Mapping[str, Memory]) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self._add(partition, memories)
            except (Retryable, OSError, KafkaError, SnapshotError) as error:
                _log.warning("snapshot.failed", partition=partition, error=str(error))

    async def _add(self, partition: int, memories: Mapping[str, Memory]) -> None:
        async with snapshot_writer(self._settings, partition) as writer:
            while True:
                await update(self._settings, writer, partition, memories, self._clock.now())
                await asyncio.sleep(self._every_s)


@asynccontextmanager
async def snapshot_writer(settings: Settings, partition: int) -> AsyncIterator[SnapshotWriter]:
    """Hold a partition's snapshot to add to it.

    Raises:
        SnapshotError: another process does.
    """
    writer = SnapshotWriter(folder_of(settings, partition), _name(settings, partition))
    try:
        await _in_thread(writer.open)
        yield writer
    finally:
        writer.close()


async def update(
    settings: Settings,
    writer: SnapshotWriter,
    partition: int,
    memories: Mapping[str, Memory],
    now: datetime,
) -> int:
    """Bring a partition's snapshot up to the log's present end; return how many records that took.

    Raises:
        OSError: the disk is full or away.
        KafkaError: the log cannot be read.
    """
    needed = min(_since(memories, now, _REMEMBERED).values(), default=now.timestamp())
    keep = min(_since(memories, now, _REMEMBERED + 1).values(), default=now.timestamp())
    count = 0
    async with _changelog(settings, partition, _PORTION_BYTES // 4) as (consumer, place):
        end = (await consumer.end_offsets([place]))[place]
        known = writer.offset >= 0 and writer.since_s <= needed
        if not known or not await _at_record(consumer, place, writer.offset, writer.record):
            await _in_thread(writer.reset, keep)
            await _seek(consumer, place, keep)
        async for records in _portions(consumer, place, end):
            count += len(records)
            await _in_thread(writer.add, [(record.offset, record.value) for record in records])
    if count:
        await _in_thread(writer.commit, keep)
    return count


def folder_of(settings: Settings, partition: int) -> Path:
    """Return the folder of a partition's snapshot, in the data folder."""
    log = _name(settings, partition)
    return settings.home / "dedupe" / f"{partition}-{hashlib.sha256(log.encode()).hexdigest()[:12]}"


def _name(settings: Settings, partition: int) -> str:
    return f"{settings.topic(topics.DEDUPE_LOG)}/{partition}"


def _since(memories: Mapping[str, Memory], now: datetime, buckets: int) -> dict[str, float]:
    """Return, for each memory, the moment `buckets` before its window."""
    now_s = now.timestamp()
    return {name: now_s - memory.window_s - buckets * memory.bucket_s for name, memory in memories.items()}


def _take_in(snapshot: Snapshot, pipeline: Restorable, since: Mapping[str, float], now: datetime) -> int:
    for name, size_bytes in snapshot.sizes(since).items():
        memory = pipeline.memories[name]
        if isinstance(memory, Dedupe):
            memory.reserve(size_bytes // FINGERPRINT_BYTES)
    encode = msgspec.msgpack.encode
    return sum(pipeline.restore([encode([entry])], now) for entry in snapshot.entries(since))


async def _usable(
    settings: Settings, consumer: AIOKafkaConsumer, place: TopicPartition, since: Mapping[str, float]
) -> Snapshot | None:
    """Return the snapshot if there is one, and it is whole and of this log; the consumer stands behind it."""
    partition = place.partition
    folder = folder_of(settings, partition)
    try:
        snapshot = await _in_thread(Snapshot.load, folder, _name(settings, partition))
        if snapshot is None:
            return None
        found = snapshot.manifest
        if found.since_s > min(since.values(), default=found.since_s):
            raise SnapshotError("it was kept for a shorter window")
        if not await _at_record(consumer, place, found.offset, found.record):
            raise SnapshotError("its last record is not in the log")
    except (SnapshotError, OSError) as error:
        _log.warning("snapshot.ignored", partition=partition, folder=str(folder), reason=str(error))
        return None
    return snapshot


@asynccontextmanager
async def _changelog(
    settings: Settings, partition: int, fetch_bytes: int
) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition]]:
    place = TopicPartition(settings.topic(topics.DEDUPE_LOG), partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.endpoints.kafka,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=fetch_bytes,
    )
    async with connected(consumer):
        consumer.assign([place])
        yield consumer, place


async def _at_record(consumer: AIOKafkaConsumer, place: TopicPartition, offset: int, digest: bytes) -> bool:
    """Tell whether the log has this very record; the consumer then stands behind it."""
    first = (await consumer.beginning_offsets([place]))[place]
    end = (await consumer.end_offsets([place]))[place]
    if not first <= offset < end:
        return False
    consumer.seek(place, offset)
    while await consumer.position(place) < end:
        fetched = await consumer.getmany(place, timeout_ms=200, max_records=1)
        for record in fetched.get(place, ()):
            return bool(record.offset == offset and record_digest(record.value) == digest)
    return False


async def _seek(consumer: AIOKafkaConsumer, place: TopicPartition, since_s: float) -> None:
    found = await consumer.offsets_for_times({place: max(0, int(since_s * 1000))})
    if found.get(place) is None:
        await consumer.seek_to_end(place)
    else:
        consumer.seek(place, found[place].offset)


async def _portions(consumer: AIOKafkaConsumer, place: TopicPartition, end: int) -> AsyncIterator[list[Any]]:
    """Yield the records up to `end`, some megabytes at a time."""
    gathered: list[Any] = []
    size = 0
    while await consumer.position(place) < end:
        for record in (await consumer.getmany(place, timeout_ms=200)).get(place, ()):
            gathered.append(record)
            size += len(record.value)
        if size >= _PORTION_BYTES:
            yield gathered
            gathered, size = [], 0
    if gathered:
        yield gathered


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Work in a thread and wait for its end even when cancelled: nobody else may touch what it works on."""
    task = asyncio.create_task(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
