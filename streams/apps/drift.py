"""The `drift` worker: consumes events, cleaned or not, answers, labels and swaps, produces `alerts.drift`.

    fetch ─▶ watches ─▶ checkpoint (positions, memory, alerts to write) ─▶ one transaction: alerts + positions

It reads on from its checkpoint. An alert is saved before it is sent and looked for on the topic before it is
sent again, so a restart neither forgets nor cries twice. Delivery to people is `streams.alerts`, beside it.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from headrace_native import RecordBlock

from infra.runtime import metrics
from infra.runtime.clock import Clock, SystemClock
from infra.runtime.hot import Hot, hot_of
from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.blocks import carry_blocks
from infra.runtime.kafka.exactly_once import GATHER_BYTES, GATHER_MS
from infra.runtime.kafka.follow import partitions_of
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.clean import Clean
from schemas.codec import decode
from schemas.config import Headrace
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert
from schemas.errors import Rejected, Retryable
from schemas.label import Label
from schemas.record import Coordinates
from schemas.release import Swap
from schemas.topics import CLEAN, COPIES, DEAD, LABELS, PREDICTIONS, SWAPS
from streams.alerts.delivery import deliver
from streams.drift.answer import Answer
from streams.drift.batch import CleanBatch
from streams.drift.board import publish_levels
from streams.drift.checkpoint import Checkpoint, CheckpointFile
from streams.drift.fingerprint import fingerprint
from streams.drift.levels import StreamLevels
from streams.drift.log import GROUP, AlertLog, remind, written_alerts
from streams.drift.watch import DriftWatch

_log = get_logger(__name__)
_INPUTS: Final = (CLEAN, PREDICTIONS, LABELS, SWAPS, DEAD, COPIES)
_TICK_S: Final = 1.0
_SAVE_EVERY_S: Final = 15.0
_LOOK_BACK: Final = timedelta(hours=1)
_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 15.0

_Record = TypeVar("_Record", Clean, Answer, Label, Swap, Dead, Copies)
_OfStream = TypeVar("_OfStream", Answer, Label, Swap)


async def run(settings: Settings) -> None:
    """Watch and deliver until cancelled; when Kafka fails, start anew from the checkpoint."""
    await _patiently(lambda: create_topics(settings))
    hot = hot_of(settings, "drift")
    tasks = [
        asyncio.create_task(_patiently(lambda: _watch(settings, hot))),
        asyncio.create_task(_patiently(lambda: deliver(settings, hot=hot))),
        asyncio.create_task(hot.follow()),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(settings: Settings, hot: Hot) -> None:
    """Watch by the settings of now, and take over what changes."""
    worker = DriftWorker(replace(settings, config=hot.config))
    with hot.telling(worker.take):
        await worker.run()


async def _patiently(work: Callable[[], Awaitable[object]]) -> None:
    backoff_s = _FIRST_BACKOFF_S
    while True:
        began = time.monotonic()
        try:
            await work()
            return
        except (KafkaError, Retryable, OSError) as error:
            if time.monotonic() - began > 60.0:
                backoff_s = _FIRST_BACKOFF_S
            _log.warning("drift.interrupted", error=str(error), again_in_s=backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)


class DriftWorker:
    """One watch per configured stream, all fed by one consumer of every partition."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._watches = {name: DriftWatch(name, stream) for name, stream in settings.config.streams.items()}
        self._configs = {name: fingerprint(stream) for name, stream in settings.config.streams.items()}
        folder = settings.home / "drift"
        self._file = CheckpointFile(folder / f"{settings.config.topic_prefix}watch.msgpack")
        self._log = AlertLog(settings)
        self._positions: dict[TopicPartition, int] = {}
        self._left_out: Counter[str] = Counter()
        self._unsaved = False
        self._route = {
            settings.topic(CLEAN): self._clean,
            settings.topic(PREDICTIONS): self._predictions,
            settings.topic(LABELS): self._labels,
            settings.topic(SWAPS): self._swaps,
            settings.topic(DEAD): self._dead,
            settings.topic(COPIES): self._copies,
        }

    def take(self, config: Headrace) -> None:
        """Watch by other settings from here on; a checkpoint says so at once, for a restart begins by it."""
        for name, watch in self._watches.items():
            watch.take(config.streams[name])
            self._configs[name] = fingerprint(config.streams[name])
        self._unsaved = True

    async def run(self) -> None:
        """Watch until cancelled.

        Raises:
            Fatal: another drift worker has taken over.
            Retryable: Kafka failed; a new worker goes on from the checkpoint.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.endpoints.kafka,
            client_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_min_bytes=GATHER_BYTES,
            fetch_max_wait_ms=GATHER_MS,
        )
        board = asyncio.create_task(publish_levels(self._settings, self.levels))
        try:
            await self._log.start()
            await lifecycle.start(consumer)
            carry_blocks(consumer)
            await self._resume(consumer)
            await self._watch(consumer)
        finally:
            board.cancel()
            await asyncio.gather(board, return_exceptions=True)
            await lifecycle.stop(consumer)
            await self._log.stop()

    def levels(self) -> list[StreamLevels]:
        """Return every stream's levels as they are now."""
        return [watch.levels(self._clock.now()) for watch in self._watches.values()]

    async def _resume(self, consumer: AIOKafkaConsumer) -> None:
        """Restore memory and positions; send what was saved but not sent."""
        written = await written_alerts(self._settings)
        known = {alert.id for alert in written}
        checkpoint = self._file.load()
        kept = {} if checkpoint is None else checkpoint.configs
        for name, watch in self._watches.items():
            if checkpoint is not None and kept.get(name) == self._configs[name]:
                watch.restore(checkpoint.watches[name])
                continue
            remind(watch, written)
        await self._seek(consumer, {} if checkpoint is None else checkpoint.positions)
        unsent = [alert for alert in checkpoint.outbox if alert.id not in known] if checkpoint else []
        if unsent:
            await self._log.write(unsent, self._positions)
        _log.info("drift.resumed", from_checkpoint=checkpoint is not None, alerts_sent=len(unsent))

    async def _seek(self, consumer: AIOKafkaConsumer, saved: dict[str, int]) -> None:
        """Go to the saved positions; without any, an hour back."""
        partitions = await partitions_of(self._settings, _INPUTS)
        consumer.assign(partitions)
        since_ms = int((self._clock.now() - _LOOK_BACK).timestamp() * 1000)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        ends = await consumer.end_offsets(partitions)
        first = await consumer.beginning_offsets(partitions)
        for partition in partitions:
            at = saved.get(f"{partition.topic}:{partition.partition}")
            if at is None or not first[partition] <= at <= ends[partition]:
                at = found[partition].offset if found[partition] else ends[partition]
            self._positions[partition] = at
            consumer.seek(partition, at)

    async def _watch(self, consumer: AIOKafkaConsumer) -> None:
        saved_at = ticked_at = time.monotonic()
        changed = False
        while True:
            fetched = await consumer.getmany(timeout_ms=200)
            alerts: list[DriftAlert] = []
            for partition, blocks in fetched.items():
                for block in blocks:
                    alerts += self._route[partition.topic](partition, block)
                    self._positions[partition] = block.next_offset
                changed = True
            if time.monotonic() - ticked_at > _TICK_S:
                ticked_at, now = time.monotonic(), self._clock.now()
                alerts += [alert for watch in self._watches.values() for alert in watch.tick(now)]
            if alerts or self._unsaved or (changed and time.monotonic() - saved_at > _SAVE_EVERY_S):
                self._unsaved = False
                await self._commit(alerts)
                saved_at, changed = time.monotonic(), False

    async def _commit(self, alerts: list[DriftAlert]) -> None:
        """Save first, then send: whatever happens between is made good from the file."""
        checkpoint = Checkpoint(
            positions={f"{p.topic}:{p.partition}": offset for p, offset in self._positions.items()},
            watches={name: watch.snapshot() for name, watch in self._watches.items()},
            configs=self._configs,
            outbox=alerts,
        )
        await asyncio.to_thread(self._file.save, checkpoint)
        await self._log.write(alerts, self._positions)
        for alert in alerts:
            metrics.count_alert(alert.stream, alert.signal.value, recovered=alert.recovered)
            _log.info(
                "drift.raised",
                id=alert.id,
                stream=alert.stream,
                signal=alert.signal.value,
                recovered=alert.recovered,
            )

    def _clean(self, place: TopicPartition, block: RecordBlock) -> list[DriftAlert]:
        streams: dict[str, tuple[list[int], list[Clean]]] = {}
        for offset, clean in self._decoded(place, block, Clean):
            offsets, events = streams.setdefault(clean.stream, ([], []))
            offsets.append(offset)
            events.append(clean)
        alerts: list[DriftAlert] = []
        for stream, (offsets, events) in streams.items():
            if (watch := self._of(stream)) is not None:
                batch = CleanBatch(place.topic, place.partition, offsets, events)
                alerts += watch.clean(batch, self._clock.now())
        return alerts

    def _predictions(self, place: TopicPartition, block: RecordBlock) -> list[DriftAlert]:
        alerts: list[DriftAlert] = []
        for watch, answers in self._by_stream(self._decoded(place, block, Answer)):
            alerts += watch.predicted(answers, self._clock.now())
        return alerts

    def _labels(self, place: TopicPartition, block: RecordBlock) -> list[DriftAlert]:
        alerts: list[DriftAlert] = []
        for watch, labels in self._by_stream(self._decoded(place, block, Label)):
            alerts += watch.labelled(labels, self._clock.now())
        return alerts

    def _swaps(self, place: TopicPartition, block: RecordBlock) -> list[DriftAlert]:
        for watch, swaps in self._by_stream(self._decoded(place, block, Swap)):
            for swap in swaps:
                watch.swapped(swap)
        return []

    def _dead(self, place: TopicPartition, block: RecordBlock) -> list[DriftAlert]:
        alerts: list[DriftAlert] = []
        for _, dead in self._decoded(place, block, Dead):
            # Most of what cannot be read has no stream.
            if dead.stream and (watch := self._of(dead.stream)) is not None:
                alerts += watch.rejected(dead, self._clock.now())
        return alerts

    def _copies(self, place: TopicPartition, block: RecordBlock) -> list[DriftAlert]:
        alerts: list[DriftAlert] = []
        for offset, copies in self._decoded(place, block, Copies):
            if (watch := self._of(copies.stream)) is not None:
                at = Coordinates(place.topic, place.partition, offset)
                alerts += watch.dropped(copies, at, self._clock.now())
        return alerts

    def _decoded(
        self, place: TopicPartition, block: RecordBlock, contract: type[_Record]
    ) -> Iterator[tuple[int, _Record]]:
        """Yield what a block holds; what cannot be read is counted and left out."""
        for offset, value in zip(block.offsets(), block.values(), strict=True):
            try:
                record = decode(value or b"", contract)
            except Rejected as error:
                self._count(f"unreadable {place.topic}", str(error))
            else:
                yield offset, record

    def _by_stream(
        self, records: Iterable[tuple[int, _OfStream]]
    ) -> Iterator[tuple[DriftWatch, list[_OfStream]]]:
        """Yield each stream's records, in their order, with its watch."""
        streams: dict[str, list[_OfStream]] = {}
        for _, record in records:
            streams.setdefault(record.stream, []).append(record)
        for stream, found in streams.items():
            if (watch := self._of(stream)) is not None:
                yield watch, found

    def _of(self, stream: str) -> DriftWatch | None:
        watch = self._watches.get(stream)
        if watch is None:
            self._count(f"unknown stream {stream[:80]}", "it is not in headrace.toml")
        return watch

    def _count(self, what: str, why: str) -> None:
        if what not in self._left_out and len(self._left_out) < 100:
            _log.warning("drift_record.left_out", what=what, why=why)
        if what in self._left_out or len(self._left_out) < 100:
            self._left_out[what] += 1
