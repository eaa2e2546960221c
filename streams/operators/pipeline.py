"""The cleaning stage of a partition: `events.raw` in; `events.clean`, `events.dead`, `dedupe.log` out.

decode → route → dedupe → normalise → remember. An event is remembered only when it was accepted, so that a
corrected copy of a rejected one, replayed under the same id, passes. Nothing that a record contains stops the
batch: what cannot be used becomes a `Dead` record with its reason and its original bytes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

import msgspec

from schemas import topics
from schemas.config import Stream
from schemas.envelope import DEFAULT_MAX_BYTES, decode_event
from schemas.errors import Reason, Rejected
from schemas.raw import RawEvent
from schemas.record import Incoming, Outgoing
from schemas.route import Route
from streams.operators.dead_letter import dead_letter
from streams.operators.dedupe import Dedupe, fingerprint
from streams.operators.fingerprints import FINGERPRINT_BYTES
from streams.operators.normalise import Normalise

STAGE: Final = "clean"
_MAX_DELTA_BYTES: Final = 32_768 * FINGERPRINT_BYTES
_encode = msgspec.json.Encoder().encode


@dataclass
class Batch:
    """What became of a batch. Clean events keep their order in `outgoing`; the changelog is last."""

    outgoing: list[Outgoing] = field(default_factory=list)
    accepted: int = 0
    duplicates: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)


class CleanPipeline:
    """Cleans, normalises and deduplicates the events of one input partition; not shared."""

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._route = Route(streams)
        self._normalise = {name: Normalise(name, stream) for name, stream in streams.items()}
        self._dedupe = {name: Dedupe(stream.dedupe.window) for name, stream in streams.items()}
        self._limits = {name: stream.clean.max_bytes for name, stream in streams.items()}
        self._max_bytes = max(self._limits.values(), default=DEFAULT_MAX_BYTES)
        self._one_limit = len(set(self._limits.values())) <= 1

    def process(self, records: Sequence[Incoming], now: datetime) -> Batch:
        """Clean one batch. `now` is the moment by which times are judged; it must not go back.

        Never raises for what a record contains.
        """
        self._at(now)
        batch = Batch()
        decoded = self._decoded(records, now, batch)
        long_ago = self._seen_long_ago(decoded)
        out = batch.outgoing
        clean_topic = topics.CLEAN.name
        for record, event, name, key in decoded:
            dedupe = self._dedupe[name]
            if dedupe.seen(key) or (long_ago and key in long_ago.get(name, ())):
                batch.duplicates += 1
                continue
            try:
                clean = self._normalise[name].clean(event, record)
            except Rejected as rejected:
                self._reject(batch, record, rejected, now, name)
                continue
            except Exception as error:  # noqa: BLE001  # or one record would stop its partition for ever
                self._reject(batch, record, _poison(error), now, name)
                continue
            dedupe.add(key)
            out.append(Outgoing(clean_topic, clean.source.encode(), _encode(clean)))
        batch.accepted = len(out) - batch.rejected.total()
        if records:
            self._changelog(out, records[0].partition)
        return batch

    def restore(self, changelog: Iterable[bytes], now: datetime) -> None:
        """Rebuild the dedupe state from the values of this partition of `dedupe.log`, oldest first."""
        self._at(now)
        deltas: dict[str, list[tuple[float, int, bytes]]] = {}
        for value in changelog:
            for name, bucket_s, bucket, packed in msgspec.msgpack.decode(
                value, type=list[tuple[str, float, int, bytes]]
            ):
                deltas.setdefault(name, []).append((bucket_s, bucket, packed))
        for name, found in deltas.items():
            if name in self._dedupe:
                self._dedupe[name].restore(found)

    def snapshot(self) -> bytes:
        """Return the whole state: fingerprints, and the recent readings of every source."""
        state = {
            name: (self._dedupe[name].snapshot(), self._normalise[name].history.snapshot())
            for name in self._dedupe
        }
        return msgspec.msgpack.encode(state)

    @classmethod
    def load(cls, snapshot: bytes, streams: Mapping[str, Stream], now: datetime) -> Self:
        """Make a pipeline with a snapshot's state; streams that are no longer configured are left out."""
        pipeline = cls(streams)
        pipeline._at(now)
        state = msgspec.msgpack.decode(
            snapshot, type=dict[str, tuple[list[tuple[float, int, bytes]], list[Any]]]
        )
        for name, (fingerprints, history) in state.items():
            if name in streams:
                pipeline._dedupe[name].restore(fingerprints)
                pipeline._normalise[name].history.restore(history)
        return pipeline

    def _at(self, now: datetime) -> None:
        now_s = now.timestamp()
        for dedupe in self._dedupe.values():
            dedupe.advance(now_s)
        for normalise in self._normalise.values():
            normalise.at(now)

    def _decoded(
        self, records: Sequence[Incoming], now: datetime, batch: Batch
    ) -> list[tuple[Incoming, RawEvent, str, bytes]]:
        """Decode, route and fingerprint a batch; what fails is rejected."""
        decoded = []
        limit, stream_of = self._max_bytes, self._route.stream_of
        for record in records:
            try:
                event = decode_event(record.value, record.headers, max_bytes=limit)
                name = stream_of(event)
                if not self._one_limit:
                    self._check_size(record, name)
            except Rejected as rejected:
                self._reject(batch, record, rejected, now)
                continue
            except Exception as error:  # noqa: BLE001  # the same
                self._reject(batch, record, _poison(error), now)
                continue
            decoded.append((record, event, name, fingerprint(event.source, event.id)))
        return decoded

    def _check_size(self, record: Incoming, name: str) -> None:
        size = len(record.value or b"")
        if size > self._limits[name]:
            raise Rejected(Reason.OVERSIZED, f"{size} bytes; stream {name!r} accepts {self._limits[name]}")

    def _seen_long_ago(
        self, decoded: Sequence[tuple[Incoming, RawEvent, str, bytes]]
    ) -> dict[str, set[bytes]]:
        """Ask the compact sets once for the whole batch."""
        return {
            name: dedupe.seen_long_ago([key for _, _, stream, key in decoded if stream == name])
            for name, dedupe in self._dedupe.items()
            if dedupe.has_cold
        }

    def _reject(
        self, batch: Batch, record: Incoming, rejected: Rejected, now: datetime, stream: str = ""
    ) -> None:
        batch.rejected[rejected.reason] += 1
        batch.outgoing.append(dead_letter(record, rejected, now, stage=STAGE, stream=stream))

    def _changelog(self, out: list[Outgoing], partition: int) -> None:
        """Append what was newly seen, in records of bounded size."""
        entries: list[tuple[str, float, int, bytes]] = []
        size = 0
        for name, dedupe in self._dedupe.items():
            bucket, packed = dedupe.delta()
            for at in range(0, len(packed), _MAX_DELTA_BYTES):
                part = packed[at : at + _MAX_DELTA_BYTES]
                if entries and size + len(part) > _MAX_DELTA_BYTES:
                    out.append(_delta(entries, partition))
                    entries, size = [], 0
                entries.append((name, dedupe.bucket_s, bucket, part))
                size += len(part)
        if entries:
            out.append(_delta(entries, partition))


def _poison(error: Exception) -> Rejected:
    """Turn a failure that no rule foresaw into a rejection that names it."""
    return Rejected(Reason.POISON, f"cleaning failed on it: {type(error).__name__}: {error}"[:600])


def _delta(entries: list[tuple[str, float, int, bytes]], partition: int) -> Outgoing:
    return Outgoing(topics.DEDUPE_LOG.name, None, msgspec.msgpack.encode(entries), partition)
