"""Watches releases on trial: consumes shadows, labels and refusals, produces what `records` says.

    champions, staged ─▶ one comparison a stream ─▶ worse: back · not worse: next stage ─▶ one transaction

Nothing is kept on disk: what is on trial is said by the compacted `models.releases`, and a start reads the
answers and labels since the trial began once more. A trial's end and its announcement are one, so a crash at
any point neither loses nor doubles a rollback, and serving workers, however many, follow the one record.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.runtime import metrics
from infra.runtime.hot import Hot
from infra.runtime.kafka.follow import partitions_of
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse, WarehouseRefused
from schemas import codec, topics
from schemas.config import Headrace, Stream
from schemas.drift import Signal
from schemas.errors import Fatal, Rejected, Retryable
from schemas.label import Label
from schemas.record import Incoming
from schemas.release import Release, Swap, Task, on_trial
from schemas.rollout import Rollout, RolloutStage
from schemas.shadow import Shadow
from trainers.rollout.announcer import Announcer
from trainers.rollout.comparison import Comparison
from trainers.rollout.records import Ended, advanced, dropped, stuck, taken_back
from trainers.rollout.samples import samples
from trainers.rollout.trial import Terms, Trial, unpaired
from trainers.shared import Shared

_log = get_logger(__name__)

_LOOK_EVERY_S: Final = 0.5
_ASK_EVERY_S: Final = 5.0
_ASK_OFTEN: Final = 60
"""ClickHouse is asked every 5 s; of an older trial whenever a sixtieth of its age has passed."""

_EXPECTED: Final = 50
"""So many events with two answers are missed before shares are compared in their place."""

_EARLY: Final = timedelta(minutes=10)
"""Labels may be so much older than the answers to their events."""


class Rollouts:
    """One comparison per stream that has a model."""

    def __init__(
        self, settings: Settings, shared: Shared, warehouse: Warehouse, announcer: Announcer
    ) -> None:
        self._settings = settings
        self._shared = shared
        self._warehouse = warehouse
        self._announcer = announcer
        self._streams = _judged(settings.config)
        self._comparisons = {
            name: Comparison(terms_of(stream)) for name, (_, stream) in self._streams.items()
        }
        self._ended: set[tuple[str, datetime]] = set()
        self._asked_at: dict[str, datetime] = {}
        self._refusals: dict[str, Swap] = {}  # the newest of each model
        self.caught_up = False

    def take(self, config: Headrace) -> None:
        """Go on by other settings: stages and shares at once, a trial's terms from the next one on."""
        self._streams = _judged(config)
        for name, (_, stream) in self._streams.items():
            self._comparisons[name].take(terms_of(stream))

    def look(self) -> list[tuple[str, Release]]:
        """Put on trial what is, and return it, by stream."""
        found = []
        for name, (model, _) in self._streams.items():
            release = on_trial(self._shared.champions.get(model), self._shared.staged.get(model))
            if release is not None and (release.rollout is None or self._key(release) in self._ended):
                release = None
            self._comparisons[name].put_on_trial(release)
            if release is not None:
                found.append((name, release))
        return found

    def read(self, records: Sequence[Incoming]) -> None:
        """Take records of the topics that are followed; one that keeps no contract is said and left out."""
        shadows: dict[str, list[Shadow]] = {}
        labels: dict[str, list[Label]] = {}
        for record in records:
            try:
                if record.topic == self._settings.topic(topics.SHADOW):
                    shadow = codec.decode(record.value or b"", Shadow)
                    shadows.setdefault(shadow.stream, []).append(shadow)
                elif record.topic == self._settings.topic(topics.SWAPS):
                    swap = codec.decode(record.value or b"", Swap)
                    if swap.outcome == "rejected":
                        self._refusals[swap.model] = swap
                else:
                    label = codec.decode(record.value or b"", Label)
                    labels.setdefault(label.stream, []).append(label)
            except Rejected as error:
                _log.warning("record.ignored", topic=record.topic, offset=record.offset, error=str(error))
        for name, found in labels.items():
            if name in self._comparisons:
                self._comparisons[name].labelled(found)
        for name, answered in shadows.items():
            if name in self._comparisons:
                self._comparisons[name].answered(answered)

    async def decide(self) -> None:
        """End the trials that can be ended: what is worse goes back, what is not goes further."""
        now = self._shared.clock.now()
        for name, release in self.look():
            rollout, trial = release.rollout, self._comparisons[name].trial
            if rollout is None:
                continue
            if (refusal := self._refusal(release, rollout)) is not None:
                await self._drop(name, release, refusal, now)
                continue
            _, stream = self._streams[name]
            reasons = trial.worse()
            if not reasons and rollout.stage is RolloutStage.FULL and not trial.failures.of:
                reasons = await self._by_shares(name, release, rollout, now)
            if reasons:
                await self._take_back(name, release, reasons, now)
            elif release.staged and now >= rollout.until and trial.passed():
                await self._advance(release, stream, now)

    def _refusal(self, release: Release, rollout: Rollout) -> Swap | None:
        """Return the word of a serving worker that refuses a release since it is in shadow or canary."""
        refusal = self._refusals.get(release.model)
        if refusal is None or not release.staged or refusal.sha256 != release.sha256:
            return None
        return refusal if refusal.swapped_at >= rollout.since else None

    async def _drop(self, name: str, release: Release, refusal: Swap, now: datetime) -> None:
        """End the stage of a release that would never be asked: no label would ever speak for it."""
        await self._end(release, dropped(release, refusal, now))
        self._shared.runs.take_back(name, release.version)
        _log.warning(
            "model.refused", model=release.model, version=release.version, reason=refusal.message,
            worker=refusal.worker,
        )  # fmt: skip

    async def _by_shares(
        self, name: str, release: Release, rollout: Rollout, now: datetime
    ) -> tuple[str, ...]:
        """Compare with what the version before showed just before; the warehouse knows."""
        _, stream = self._streams[name]
        every_s = max(_ASK_EVERY_S, (now - rollout.since).total_seconds() / _ASK_OFTEN)
        asked_at = self._asked_at.get(name)
        if not self.caught_up or (asked_at and (now - asked_at).total_seconds() < every_s):
            return ()
        self._asked_at[name] = now
        try:
            before, since = await samples(self._warehouse, release, stream.gate.p99_ms, now)
        except (Retryable, WarehouseRefused) as error:
            _log.warning(
                "rollout.unseen", model=release.model, version=release.version, reason=str(error)[:300]
            )
            return ()
        if rollout.share and since.answered * rollout.share < _EXPECTED:
            return ()
        return unpaired(before, since, terms_of(stream))

    async def _take_back(self, name: str, release: Release, reasons: tuple[str, ...], now: datetime) -> None:
        trial = self._comparisons[name].trial
        try:
            ended = await asyncio.to_thread(self._back, release, reasons, trial, now)
        except Fatal as error:
            ended = stuck(release, reasons, error, trial, now)
        await self._end(release, ended)
        metrics.count_alert(name, Signal.ROLLBACK.value, recovered=False)
        if ended.left is None:
            _log.error("rollback.impossible", model=release.model, version=release.version, reasons=reasons)
            return
        self._shared.rolled_back.setdefault(release.model, set()).add(release.version)
        self._shared.runs.take_back(name, release.version)
        _log.warning(
            "model.rolled_back", model=release.model, version=release.version, reasons=reasons,
            serving=ended.serving.version if ended.serving else None,
        )  # fmt: skip

    def _back(self, release: Release, reasons: tuple[str, ...], trial: Trial, now: datetime) -> Ended:
        """Return what takes a release back; what served before is fetched where it is not on this machine.

        Raises:
            Fatal: what served before is broken or gone.
            StoreAway: it is not here and the store failed.
        """
        releases = self._shared.releases
        if release.rollout is not None and not release.staged:
            releases.bring(release.model, release.rollout.against)
        address = releases.published_before
        return taken_back(self._settings.releases, release, reasons, trial, now, address)

    async def _advance(self, release: Release, stream: Stream, now: datetime) -> None:
        champion = self._shared.champions[release.model]
        ended = advanced(release, champion, stream.rollout, now)
        await self._end(release, ended)
        after = ended.staged or ended.serving
        stage = after.rollout.stage if after and after.rollout else RolloutStage.FULL
        _log.info("model.advanced", model=release.model, version=release.version, stage=stage.value)

    async def _end(self, release: Release, ended: Ended) -> None:
        """Write first, then know: `models.releases` says the same to whoever starts in between."""
        await self._announcer.write(ended.records)
        self._ended.add(self._key(release))
        self._shared.staged.pop(release.model, None)
        if ended.staged is not None:
            self._shared.staged[release.model] = ended.staged
        if ended.serving is not None:
            self._shared.champions[release.model] = ended.serving
            self._shared.registrar.serving(self._shared.champions)

    @staticmethod
    def _key(release: Release) -> tuple[str, datetime]:
        return release.sha256, release.rollout.since if release.rollout else release.created_at


def _judged(config: Headrace) -> dict[str, tuple[str, Stream]]:
    """Return the model and the settings of each stream that has a model, by the stream's name."""
    streams = config.streams.items()
    return {name: (stream.model.name or name, stream) for name, stream in streams if stream.model is not None}


def terms_of(stream: Stream) -> Terms:
    """Return by what a stream's releases are decided."""
    labels = stream.model is not None and stream.model.task is not Task.ANOMALY
    return Terms(stream.rollout.significance, stream.rollout.min_labels, stream.gate.p99_ms, labels=labels)


async def watch(settings: Settings, shared: Shared, warehouse: Warehouse, hot: Hot) -> None:
    """Watch until cancelled, by the settings that are `hot`.

    Raises:
        Fatal: another trainer has taken over.
        KafkaError, Retryable: the brokers failed; start again, from the trials' beginning.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.endpoints.kafka,
        client_id="headrace-rollout",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=500,
    )
    async with Announcer(settings) as announcer, connected(consumer):
        rollouts = Rollouts(replace(settings, config=hot.config), shared, warehouse, announcer)
        ends = await _seek(consumer, settings, [release for _, release in rollouts.look()])
        with hot.telling(rollouts.take):
            await _keep_watch(consumer, rollouts, ends)


async def _keep_watch(
    consumer: AIOKafkaConsumer, rollouts: Rollouts, ends: dict[TopicPartition, int]
) -> None:
    looked_at = float("-inf")
    while True:
        fetched = await consumer.getmany(timeout_ms=200)
        rollouts.look()
        for records in fetched.values():
            rollouts.read(records)
        if monotonic() - looked_at > _LOOK_EVERY_S:
            looked_at = monotonic()
            rollouts.caught_up = rollouts.caught_up or await _at(consumer, ends)
            await rollouts.decide()


async def _seek(
    consumer: AIOKafkaConsumer, settings: Settings, trials: Sequence[Release]
) -> dict[TopicPartition, int]:
    """Go to where the oldest trial began, or to the end where there is none; return the ends."""
    partitions = await partitions_of(settings, [topics.SHADOW, topics.LABELS, topics.SWAPS])
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)
    ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
    begins = [release.rollout.since for release in trials if release.rollout is not None]
    if not begins:
        return ends
    stamp = int((min(begins) - _EARLY).timestamp() * 1000)
    for partition, found in (await consumer.offsets_for_times(dict.fromkeys(partitions, stamp))).items():
        if found is not None:
            consumer.seek(partition, found.offset)
    return ends


async def _at(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    """Tell whether everything was read that was there at the start."""
    return all([await consumer.position(partition) >= end for partition, end in ends.items()])
