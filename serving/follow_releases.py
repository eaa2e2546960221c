"""Keeps the models in step with `models.releases`: announcements in, loaded models and `models.swaps` out.

What `models.swaps` says, by `outcome`:

    rejected   the candidate must not serve; `message` says why; the champion goes on
    awaited    its store does not answer, `message` says how; the champion goes on, and it is tried again
    swapped    the worker took the version over; `first_offsets` is where each partition it owns stood, so it
               comes at once, even on a stream at rest
    answered   the ledger: written in the transaction of the first predictions that the version made in a
               partition since this worker got version and partition. Read committed, every prediction of the
               champion must carry the version of the last such record at or below its offset.
    shadow,    the worker asks a release on trial beside the champion from here on: aside, or to answer its
    canary     share of the events; `first_offsets` as for `swapped`
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeVar

from aiokafka.errors import KafkaError

from infra.runtime import metrics
from infra.runtime.clock import Clock
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.object_store import StoreAway
from infra.runtime.releases import cache_of
from infra.runtime.settings import Settings
from schemas import codec, topics
from schemas.config import Gate, Headrace
from schemas.errors import Rejected, Retryable
from schemas.record import Incoming, Outgoing
from schemas.release import Release, State, Swap, on_trial
from serving.awaited import Awaited
from serving.candidates import candidates, folder_beside, still_compared
from serving.loading import Loading
from serving.release import BadRelease
from serving.slot import Limits, Second, Served, Slot

_log = get_logger(__name__)
_PAUSE_S: Final = 2.0

T = TypeVar("T")

SWAPPED: Final = "swapped"
REJECTED: Final = "rejected"
AWAITED: Final = "awaited"
ANSWERED: Final = "answered"

Positions = Callable[[], Mapping[str, int]]


class Models:
    """All models that this worker serves, by name, each in its slot."""

    def __init__(self, settings: Settings, pool: ThreadPoolExecutor, *, clock: Clock, worker: str) -> None:
        self._settings = settings
        self._pool = pool
        self._clock = clock
        self._worker = worker
        self._loading = Loading()
        self._slots: dict[str, Slot] = {}
        self._cache = cache_of(settings)
        self._awaited = Awaited(self._say_awaited)
        self._reports: asyncio.Queue[Swap] = asyncio.Queue()
        self._next_offsets: dict[int, int] = {}

    def current(self, model: str) -> Served | None:
        """Return what answers for a model now."""
        slot = self._slots.get(model)
        return slot.current if slot else None

    def second(self, model: str) -> Second | None:
        """Return what is asked beside it, while a release is on trial."""
        slot = self._slots.get(model)
        return slot.second if slot else None

    def take(self, config: Headrace) -> None:
        """Hold releases against other limits from here on."""
        self._settings = replace(self._settings, config=config)
        for slot in self._slots.values():
            if slot.newest is not None:
                slot.limits = self._limits(slot.newest.release.stream)

    async def restore(self) -> None:
        """Read the releases to their end and load each model's champion, the newest that may serve.

        Where the newest is bad, those announced before it are tried, then what was last served.
        """
        announced: defaultdict[str, list[Release]] = defaultdict(list)
        staged: dict[str, Release] = {}
        async for record in follow(self._settings, [topics.RELEASES], stop_at_end=True):
            release = self._next(record)
            if release is None:
                continue
            if serves(record, release):
                announced[release.model].append(release)
            elif release.staged:
                staged[release.model] = release
            elif release.model in staged and staged[release.model].version == release.version:
                del staged[release.model]
        served = await self._last_served() if announced else {}
        for model, releases in announced.items():
            await self._first_of(candidates(releases, served.get(model)))
        self.take_over(dict)
        for model, slot in self._slots.items():
            trial = on_trial(slot.current.release, staged.get(model)) if slot.current else None
            if trial is not None:
                await self._ask_beside(slot, trial)

    async def follow(self) -> None:
        """Load what is announced from here on, until cancelled; after a broker failure go on from there."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._awaited.run())
            group.create_task(self._follow())

    async def _first_of(self, ordered: Sequence[Release]) -> None:
        """Load the first release that may serve; one before it whose store is away is waited for."""
        away: tuple[Release, StoreAway] | None = None
        for release in ordered:
            try:
                if await self._offered(release):
                    break
            except StoreAway as error:
                away = away or (release, error)
        if away is not None:
            self._awaited.put(away[0].model, away[0], self._offered, away[1])

    async def _follow(self) -> None:
        while True:
            try:
                async for record in follow(self._settings, [topics.RELEASES]):
                    release = self._next(record)
                    if release is None:
                        continue
                    if serves(record, release):
                        await self.offer(release)
                    else:
                        await self.stage(release)
            except (KafkaError, Retryable) as error:
                _log.warning("releases.interrupted", error=str(error), again_in_s=_PAUSE_S)
                await asyncio.sleep(_PAUSE_S)

    async def offer(self, release: Release) -> bool:
        """Load a release as its model's candidate; tell whether it may serve now.

        A bad one is reported, and one whose store is away is tried again.
        """
        return await self._awaited.attempt(release.model, release, self._offered)

    async def _offered(self, release: Release) -> bool:
        slot = self._slots.get(release.model)
        if slot is None:
            slot = self._slots[release.model] = Slot(self._pool, self._limits(release.stream), self._loading)
        newest = slot.newest
        if newest is not None and newest.release.sha256 == release.sha256:
            slot.renew(release)
            return True
        self._keep_fetched()
        try:
            await slot.load(release)
        except BadRelease as error:
            self._refuse(release, error)
            return False
        return True

    async def stage(self, release: Release) -> None:
        """Ask a release in shadow or canary beside the champion that it is compared with, or no longer."""
        slot = self._slots.get(release.model)
        newest = slot.newest if slot else None
        if slot is None or newest is None:
            return
        if release.staged and on_trial(newest.release, release) is release:
            await self._ask_beside(slot, release)
        else:
            self._awaited.drop(_beside_of(release))
            slot.drop(release.version)

    async def _ask_beside(self, slot: Slot, trial: Release) -> None:
        """Keep the other version of a trial warm: the candidate, or what served before the champion."""
        rollout = trial.rollout
        over = rollout is not None and not trial.staged and self._clock.now() >= rollout.until
        if rollout is None or not rollout.share or over:
            return
        other = trial if trial.staged else folder_beside(trial, rollout.against, rollout.against_sha256)

        async def loaded(other: Release) -> bool:
            if not still_compared(trial, slot.newest.release if slot.newest else None):
                return False  # another one came to serve while its store was away
            self._keep_fetched()
            try:
                await slot.load_second(other, trial)
            except BadRelease as error:
                self._refuse(other, error)
                return False
            return True

        await self._awaited.attempt(_beside_of(trial), other, loaded)

    def _keep_fetched(self) -> None:
        """Let go of the folders of what is loaded no more: there may have to be room."""
        if self._cache is not None:
            self._cache.keep({digest for slot in self._slots.values() for digest in slot.digests})

    def _say_awaited(self, release: Release, error: StoreAway) -> None:
        _log.warning("release.awaited", model=release.model, version=release.version, reason=str(error))
        self._reports.put_nowait(self.swap(release, AWAITED, {}, message=str(error)))
        metrics.count_swap(release.model, AWAITED)

    def _refuse(self, release: Release, error: BadRelease) -> None:
        _log.warning("release.rejected", model=release.model, version=release.version, reason=str(error))
        self._reports.put_nowait(self.swap(release, REJECTED, {}, message=str(error)))
        metrics.count_swap(release.model, REJECTED)

    def _limits(self, stream: str) -> Limits:
        """Return what a release for a stream must keep to."""
        configured = self._settings.config.streams.get(stream)
        gate = configured.gate if configured else Gate()
        return Limits(self._settings.releases, gate.p99_ms, self._cache)

    def take_over(self, positions: Positions) -> list[Served]:
        """Let every waiting candidate serve from here on. Call between two batches."""
        taken = []
        for slot in self._slots.values():
            served = slot.take_over()
            self._end_trial(slot)
            if (entered := slot.entered()) is not None:
                self._enter(entered, positions())
            if served is None:
                continue
            taken.append(served)
            release = served.release
            told = f"on trial against version {slot.second.served.release.version}" if slot.second else ""
            report = self.swap(release, SWAPPED, positions(), load_ms=served.load_ms, message=told)
            self._reports.put_nowait(report)
            metrics.count_swap(release.model, SWAPPED)
            metrics.set_model_version(release.model, release.version)
            _log.info("model.swapped", model=release.model, version=release.version, load_ms=served.load_ms)
        return taken

    def _end_trial(self, slot: Slot) -> None:
        """Let the version before go once it has had its time, and its memory with it."""
        if slot.second is not None and slot.second.over(self._clock.now()):
            gone = slot.second.served.release
            slot.drop()
            _log.info("second.dropped", model=gone.model, version=gone.version)

    def _enter(self, second: Second, positions: Mapping[str, int]) -> None:
        """Report that a release is in shadow or canary here."""
        stage, load_ms = second.rollout.stage.value, second.served.load_ms
        told = f"{second.rollout.share:g} of the events, against version {second.rollout.against}"
        self._reports.put_nowait(self.swap(second.trial, stage, positions, load_ms=load_ms, message=told))
        metrics.count_swap(second.trial.model, stage)
        _log.info("model.staged", model=second.trial.model, version=second.trial.version, stage=stage)

    def swap(
        self,
        release: Release,
        outcome: str,
        first_offsets: Mapping[str, int],
        *,
        load_ms: float = 0.0,
        message: str = "",
    ) -> Swap:
        """Build a record for `models.swaps`."""
        return Swap(
            model=release.model,
            stream=release.stream,
            version=release.version,
            sha256=release.sha256,
            worker=self._worker,
            first_offsets=dict(first_offsets),
            swapped_at=self._clock.now(),
            load_ms=load_ms,
            outcome=outcome,
            message=message,
        )

    async def report(self, publisher: Publisher) -> None:
        """Publish what happened to candidates, until cancelled; what waits then is still sent."""
        try:
            while True:
                await self._send(publisher, await self._reports.get())
        finally:
            while not self._reports.empty():
                await self._send(publisher, self._reports.get_nowait())

    async def forget_reports(self) -> None:
        """Say nothing of what happens to candidates, until cancelled: for one that answers no events."""
        while True:
            await self._reports.get()

    async def _send(self, publisher: Publisher, swap: Swap) -> None:
        try:
            await publisher.send(outgoing(swap))
        except Retryable as error:
            _log.warning("swap.unreported", model=swap.model, version=swap.version, error=str(error))

    async def _last_served(self) -> dict[str, Swap]:
        """Return each model's last version that went into service, of any worker."""
        last: dict[str, Swap] = {}
        async for record in follow(self._settings, [topics.SWAPS], stop_at_end=True):
            swap = _decoded(record, Swap)
            if swap is not None and swap.outcome == SWAPPED:
                last[swap.model] = swap
        return last

    def _next(self, record: Incoming) -> Release | None:
        """Return the release of a record that was not read before: an old announcement must not come back."""
        if record.offset < self._next_offsets.get(record.partition, 0):
            return None
        self._next_offsets[record.partition] = record.offset + 1
        return _decoded(record, Release)


def outgoing(swap: Swap) -> Outgoing:
    """Encode a swap for its topic."""
    return Outgoing(topics.SWAPS.name, swap.model.encode(), codec.encode(swap))


def released(record: Incoming) -> Release | None:
    """Return the release to serve that a record announces, if it does: rejections have keys of their own."""
    release = _decoded(record, Release)
    return release if release is not None and serves(record, release) else None


def serves(record: Incoming, release: Release) -> bool:
    """Tell whether a record's release is the one to serve; what is said of another has a key of its own."""
    return release.state is State.RELEASED and record.key == release.model.encode()


def _beside_of(release: Release) -> str:
    """Return the key under which the other version of a trial waits for its store."""
    return f"{release.model}/beside"


def _decoded(record: Incoming, contract: type[T]) -> T | None:
    """Decode a record of our own topics; one that is no such contract is said and skipped."""
    if record.value is None:
        return None
    try:
        return codec.decode(record.value, contract)
    except Rejected as error:
        _log.warning("record.ignored", topic=record.topic, offset=record.offset, error=str(error))
        return None
