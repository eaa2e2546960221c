"""The cleaning stage of a partition: `events.raw` in; `events.clean`, `events.dead`, `dedupe.log` out.

decode → route → [paused?] → [at home?] → dedupe → clean → remember. The events of a paused stream wait on
`events.parked`, as they came. An event met elsewhere than at its home partition is forwarded there by
`events.rekeyed`, and cleaned when it comes from it. An event is remembered only when it was accepted, so that
a corrected copy of a rejected one, replayed under the same id, passes. Nothing that a record contains stops
the batch: what cannot be used becomes a `Dead` record with its reason and its original bytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Self

import msgspec

from schemas import topics
from schemas.config import Stream
from schemas.envelope import DEFAULT_MAX_BYTES, decode_event
from schemas.errors import Reason, Rejected
from schemas.raw import RawEvent
from schemas.record import Incoming, Outgoing
from schemas.route import Route
from streams.operators import changelog
from streams.operators.batch import Batch, Tally
from streams.operators.cleaner import Cleaner
from streams.operators.copies import Memory
from streams.operators.dead_letter import dead_letter
from streams.operators.dedupe import fingerprint
from streams.operators.home import Home, forwarded, original
from streams.operators.park import Pauses, park, unpark

STAGE: Final = "clean"
_NONE: Final = Pauses()
_encode = msgspec.json.Encoder().encode

Decoded = tuple[Incoming, RawEvent, Cleaner, bytes]
"""A record, its event, who cleans it, and the fingerprint of its identity."""


class CleanPipeline:
    """Cleans, normalises and deduplicates the events of one partition of `events.raw` and `events.rekeyed`.

    Without a `home`, every event is at home where it is met.
    """

    def __init__(self, streams: Mapping[str, Stream], home: Home | None = None) -> None:
        self._cleaners = {name: Cleaner(name, stream) for name, stream in streams.items()}
        self._route = Route(streams)
        self._first = {cleaner.shape: cleaner for cleaner in reversed(self._cleaners.values())}
        self._home = home if any(c.rekey != "never" for c in self._cleaners.values()) else None
        self._memories: dict[str, Memory] = {}
        for cleaner in self._cleaners.values():
            self._memories |= cleaner.memories
        self._repair = any(stream.clean.utf8 == "repair" for stream in streams.values())
        limits = {cleaner.limit for cleaner in self._cleaners.values()}
        self._max_bytes = max(limits, default=DEFAULT_MAX_BYTES)
        self._one_limit = len(limits) <= 1

    def process(
        self,
        records: Sequence[Incoming],
        now: datetime,
        *,
        rekeyed: bool = False,
        parked: bool = False,
        pauses: Pauses = _NONE,
    ) -> Batch:
        """Clean one batch, of `events.rekeyed` or `events.parked` if it is so said.

        `now` is the moment by which times are judged; it must not go back. Events of the streams that are
        paused are parked. Never raises for what a record contains.
        """
        self._at(now)
        batch = Batch()
        if not records:
            return batch
        partition = records[0].partition
        if rekeyed:
            records = [original(record) for record in records]
        elif parked:
            records = unpark(records)
        decoded = self._decoded(records, now, batch)
        if pauses.streams:
            decoded = self._running(decoded, partition, pauses, now, batch)
        if self._home is not None and not rekeyed:
            decoded = self._at_home(self._home, decoded, partition, now, batch)
        self._clean(decoded, now, batch)
        batch.outgoing.extend(changelog.added(self._memories, partition))
        return batch

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Return what is remembered, by its names in the changelog."""
        return self._memories

    def restore(self, values: Iterable[bytes], now: datetime) -> int:
        """Rebuild what is remembered from values of this partition of `dedupe.log`, oldest first.

        May be called again with those that follow. Returns how many fingerprints were taken in.
        """
        self._at(now)
        return changelog.restore(self._memories, values)

    def snapshot(self) -> bytes:
        """Return the whole state: fingerprints, and the recent readings of every source."""
        state = {
            "memories": {name: memory.snapshot() for name, memory in self._memories.items()},
            "histories": {name: c.normalise.history.snapshot() for name, c in self._cleaners.items()},
            "windows": {name: c.windows.snapshot() for name, c in self._cleaners.items() if c.windows},
        }
        return msgspec.msgpack.encode(state)

    @classmethod
    def load(cls, snapshot: bytes, streams: Mapping[str, Stream], now: datetime) -> Self:
        """Make a pipeline with a snapshot's state; streams that are no longer configured are left out."""
        pipeline = cls(streams)
        pipeline._at(now)
        state = msgspec.msgpack.decode(snapshot)
        for name, memory in pipeline._memories.items():
            memory.restore(state["memories"].get(name, ()))
        for name, cleaner in pipeline._cleaners.items():
            cleaner.normalise.history.restore(state["histories"].get(name, []))
            if cleaner.windows is not None:
                cleaner.windows.restore(state["windows"].get(name, []))
        return pipeline

    def _at(self, now: datetime) -> None:
        now_s = now.timestamp()
        for memory in self._memories.values():
            memory.advance(now_s)
        for cleaner in self._cleaners.values():
            cleaner.normalise.at(now)

    def _decoded(self, records: Sequence[Incoming], now: datetime, batch: Batch) -> list[Decoded]:
        """Decode, route and fingerprint a batch; what fails is rejected."""
        decoded: list[Decoded] = []
        named, first, limit, repair = self._cleaners, self._first, self._max_bytes, self._repair
        for record in records:
            try:
                event = decode_event(record.value, record.headers, max_bytes=limit, repair=repair)
                name = event.stream
                cleaner = named.get(name) if name else first.get(event.data.__class__)
                if cleaner is None or cleaner.shape is not event.data.__class__:
                    cleaner = named[self._route.stream_of(event)]  # says what is wrong
                if not self._one_limit:
                    _check_size(record, cleaner)
            except Rejected as rejected:
                self._reject(batch, record, rejected, now)
                continue
            except Exception as error:  # noqa: BLE001  # or one record would stop its partition for ever
                self._reject(batch, record, _poison(error), now)
                continue
            decoded.append((record, event, cleaner, fingerprint(event.source, event.id)))
        return decoded

    def _running(
        self, decoded: list[Decoded], met: int, pauses: Pauses, now: datetime, batch: Batch
    ) -> list[Decoded]:
        """Park the events of paused streams, and return the others."""
        others = []
        for entry in decoded:
            record, _, cleaner, _ = entry
            if cleaner.name not in pauses.streams:
                others.append(entry)
                continue
            try:
                batch.outgoing.append(park(record, met, pauses.epoch))
                batch.parked[cleaner.name] += 1
            except Rejected as rejected:
                self._reject(batch, record, rejected, now, cleaner.name)
        return others

    def _at_home(
        self, home: Home, decoded: list[Decoded], met: int, now: datetime, batch: Batch
    ) -> list[Decoded]:
        """Forward what was met elsewhere than at home, and return the rest."""
        home_of = home.of
        homes = [home_of(cleaner.rekey, event.source, key, met) for _, event, cleaner, key in decoded]
        if homes.count(met) == len(homes):
            return decoded
        staying = []
        for entry, at in zip(decoded, homes, strict=True):
            record, event, cleaner, _ = entry
            if at == met:
                staying.append(entry)
                continue
            try:
                batch.outgoing.append(forwarded(record, event.source, at))
                batch.forwarded += 1
            except Rejected as rejected:
                self._reject(batch, record, rejected, now, cleaner.name)
        return staying

    def _clean(self, decoded: Sequence[Decoded], now: datetime, batch: Batch) -> None:
        """Drop duplicates, clean the rest and remember what was accepted."""
        self._look_up(decoded)
        produce = batch.outgoing.append
        clean_topic = topics.CLEAN.name
        for record, event, cleaner, key in decoded:
            dedupe, tally = cleaner.dedupe, cleaner.tally
            if dedupe.seen(key) or key in cleaner.long_ago:
                tally.duplicates += 1
                continue
            try:
                if cleaner.copies is not None and cleaner.copies.seen(event):
                    tally.duplicates += 1
                    continue
                clean = cleaner.normalise.clean(event, record)
                if cleaner.adds:
                    completed = cleaner.completed(event, clean)
                    if completed is None:
                        tally.duplicates += 1
                        continue
                    clean = completed
            except Rejected as rejected:
                self._reject(batch, record, rejected, now, cleaner.name)
                continue
            except Exception as error:  # noqa: BLE001  # the same as when it is decoded
                self._reject(batch, record, _poison(error), now, cleaner.name)
                continue
            dedupe.add(key)
            tally.accepted += 1
            tally.newest = clean.time
            produce(Outgoing(clean_topic, clean.source.encode(), _encode(clean)))
        for name, cleaner in self._cleaners.items():
            if cleaner.tally:
                cleaner.tally.rejected = batch.of(name).rejected
                batch.by_stream[name] = cleaner.tally
                cleaner.tally = Tally()

    def _look_up(self, decoded: Sequence[Decoded]) -> None:
        for cleaner in self._cleaners.values():
            if cleaner.dedupe.has_cold or cleaner.copies is not None:
                own = [(event, key) for _, event, whose, key in decoded if whose is cleaner]
                cleaner.look_up([event for event, _ in own], [key for _, key in own])

    def _reject(
        self, batch: Batch, record: Incoming, rejected: Rejected, now: datetime, stream: str = ""
    ) -> None:
        batch.of(stream).rejected[rejected.reason] += 1
        batch.outgoing.append(dead_letter(record, rejected, now, stage=STAGE, stream=stream))


def _check_size(record: Incoming, cleaner: Cleaner) -> None:
    size = len(record.value or b"")
    if size > cleaner.limit:
        raise Rejected(Reason.OVERSIZED, f"{size} bytes; stream {cleaner.name!r} accepts {cleaner.limit}")


def _poison(error: Exception) -> Rejected:
    """Turn a failure that no rule foresaw into a rejection that names it."""
    return Rejected(Reason.POISON, f"cleaning failed on it: {type(error).__name__}: {error}"[:600])
