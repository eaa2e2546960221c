"""The cleaning stage of a partition: `events.raw` in; `events.clean`, `.dead`, `.copies`, `dedupe.log` out.

decode → route → [paused?] → [at home?] → dedupe → clean → remember. The events of a paused stream wait on
`events.parked`, as they came. An event met elsewhere than at its home partition is forwarded there by
`events.rekeyed`, and cleaned when it comes from it. An event is remembered only when it was accepted, so that
a corrected copy of a rejected one, replayed under the same id, passes. Nothing that a record contains stops
the batch: what cannot be used becomes a `Dead` record with its reason and its original bytes. Plain sensor
readings take the `fast_path` through all of this, in their places among the others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, Self

import msgspec

from schemas.config import Stream
from schemas.envelope import decode_event
from schemas.errors import Reason, Rejected
from schemas.raw import RawEvent
from schemas.record import Incoming
from schemas.route import Route
from streams.operators import changelog
from streams.operators.batch import Batch, Tally
from streams.operators.cleaner import Cleaner
from streams.operators.copies import Memory
from streams.operators.count_windows import CountWindows
from streams.operators.dead_letter import dead_letter
from streams.operators.decoding import Decoding
from streams.operators.dedupe import fingerprint
from streams.operators.dropped import copies_of
from streams.operators.fast_path import SensorPath
from streams.operators.history import History
from streams.operators.home import Home, forwarded, original
from streams.operators.park import Pauses, park, unpark

STAGE: Final = "clean"
_NONE: Final = Pauses()
_encode = msgspec.json.Encoder().encode

Decoded = tuple[Incoming, RawEvent, Cleaner, bytes]
"""A record, its event, who cleans it, and the fingerprint of its identity."""


class CleanPipeline:
    """Cleans, normalises and deduplicates the events of one partition of `events.raw` and `events.rekeyed`.

    Without a `home`, every event is at home where it is met. Without `fast`, the operators clean every event,
    which changes nothing but the time it takes.
    """

    def __init__(self, streams: Mapping[str, Stream], home: Home | None = None, *, fast: bool = True) -> None:
        self._where, self._wants_fast = home, fast
        self._memories: dict[str, Memory] = {}
        self._put_together({name: Cleaner(name, stream) for name, stream in streams.items()}, streams)

    def take(self, streams: Mapping[str, Stream], now: datetime) -> None:
        """Go on by another configuration of the same streams, with what is remembered."""
        self._at(now)
        cleaners = {name: cleaner.by(streams[name], now) for name, cleaner in self._cleaners.items()}
        self._put_together(cleaners, streams)

    def _put_together(self, cleaners: dict[str, Cleaner], streams: Mapping[str, Stream]) -> None:
        self._cleaners = cleaners
        self._route = Route(streams)
        self._first = {cleaner.shape: cleaner for cleaner in reversed(self._cleaners.values())}
        self._home = self._where if any(c.rekey != "never" for c in self._cleaners.values()) else None
        self._fast = SensorPath.of(self._cleaners.values(), self._home) if self._wants_fast else None
        self._memories.clear()  # the same mapping: whoever keeps snapshots of it has it
        for cleaner in self._cleaners.values():
            self._memories.update(cleaner.memories)
        self._decoding = Decoding.of(streams.values())
        self._one_limit = len({cleaner.limit for cleaner in self._cleaners.values()}) <= 1

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
        if self._fast is None or rekeyed or parked or pauses.streams:
            decoded = self._decoded(records, now, batch)
            if pauses.streams:
                decoded = self._running(decoded, partition, pauses, now, batch)
            if self._home is not None and not rekeyed:
                decoded = self._at_home(self._home, decoded, partition, now, batch)
            self._look_up(decoded)
            for entry in decoded:
                self._clean(entry, now, batch)
        else:
            self._process_fast(self._fast, records, partition, now, batch)
        self._count(batch)
        batch.outgoing.extend(copies_of(batch, partition, now))
        batch.outgoing.extend(changelog.added(self._memories, partition))
        return batch

    @property
    def memories(self) -> Mapping[str, Memory]:
        """Return what is remembered, by its names in the changelog."""
        return self._memories

    @property
    def histories(self) -> Mapping[str, History]:
        """Return the recent readings of every stream, for an engine that keeps them over a restart."""
        return {name: cleaner.normalise.history for name, cleaner in self._cleaners.items()}

    @property
    def windows(self) -> Mapping[str, CountWindows]:
        """Return the count windows of the streams that have them, for the same."""
        return {name: c.windows for name, c in self._cleaners.items() if c.windows is not None}

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
            "histories": {name: history.snapshot() for name, history in self.histories.items()},
            "windows": {name: windows.snapshot() for name, windows in self.windows.items()},
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

    def _process_fast(
        self, fast: SensorPath, records: Sequence[Incoming], met: int, now: datetime, batch: Batch
    ) -> None:
        """Process a batch whose plain events take the fast path; order and outcome are as without it."""
        block, parsed = fast.parse(records, met)
        others = {at: block[at] for at in parsed.others}
        decoded = self._decoded(list(others.values()), now, batch)
        if self._home is not None:
            decoded = self._at_home(self._home, decoded, met, now, batch)
        self._look_up(decoded, lambda cleaner: fast.keys(parsed, cleaner))
        running = {id(entry[0]): entry for entry in decoded}
        at, end, packed = 0, len(block), batch.outgoing.packed
        while at < end:
            if (other := others.get(at)) is not None:
                entry = running.get(id(other))  # none if it was rejected or forwarded
                if entry is not None:
                    self._clean(entry, now, batch)
                at += 1
                continue
            at = fast.clean(parsed, at, packed)
            if at < end and at not in others:  # a remarkable one
                for entry in self._decoded([block[at]], now, batch):
                    self._clean(entry, now, batch)
                at += 1
        fast.count()

    def _decoded(self, records: Sequence[Incoming], now: datetime, batch: Batch) -> list[Decoded]:
        """Decode, route and fingerprint a batch; what fails is rejected."""
        decoded: list[Decoded] = []
        named, first = self._cleaners, self._first
        limit, repair = self._decoding
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
                waiting = park(record, met, pauses.epoch)
                batch.outgoing.append(waiting)
                batch.waiting.setdefault(cleaner.name, []).append(waiting)
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

    def _clean(self, entry: Decoded, now: datetime, batch: Batch) -> None:
        """Drop an event if it is a duplicate, else clean it and remember that it was accepted."""
        record, event, cleaner, key = entry
        dedupe, tally = cleaner.dedupe, cleaner.tally
        if dedupe.seen(key) or key in cleaner.long_ago:
            tally.duplicates += 1
            return
        try:
            if cleaner.copies is not None and cleaner.copies.seen(event):
                tally.duplicates += 1
                return
            clean = cleaner.normalise.clean(event, record)
            if cleaner.adds:
                completed = cleaner.completed(event, clean)
                if completed is None:
                    tally.duplicates += 1
                    return
                clean = completed
        except Rejected as rejected:
            self._reject(batch, record, rejected, now, cleaner.name)
            return
        except Exception as error:  # noqa: BLE001  # the same as when it is decoded
            self._reject(batch, record, _poison(error), now, cleaner.name)
            return
        dedupe.add(key)
        tally.accepted += 1
        tally.newest = clean.time
        batch.outgoing.packed.append(clean.source.encode(), _encode(clean))

    def _count(self, batch: Batch) -> None:
        for name, cleaner in self._cleaners.items():
            if cleaner.tally:
                cleaner.tally.rejected = batch.of(name).rejected
                batch.by_stream[name] = cleaner.tally
                cleaner.tally = Tally()

    def _look_up(
        self, decoded: Sequence[Decoded], more: Callable[[Cleaner], list[bytes]] = lambda _: []
    ) -> None:
        """Ask the large memories once for all of a batch's events, those with the keys `more` as well."""
        for cleaner in self._cleaners.values():
            if cleaner.dedupe.has_cold or cleaner.copies is not None:
                own = [(event, key) for _, event, whose, key in decoded if whose is cleaner]
                cleaner.look_up([event for event, _ in own], [*(key for _, key in own), *more(cleaner)])

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
