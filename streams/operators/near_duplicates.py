"""Finds texts that are nearly a recent one of the same source: consumes texts, produces the id of the first.

Two texts are near-duplicates if they share at least `threshold` of their runs of three characters:

    similarity = 2·|A ∩ B| / (|A| + |B|) = 2·J / (1 + J)        (Dice; J is Jaccard's)

J is estimated by MinHash (A. Z. Broder, "On the resemblance and containment of documents", 1997), of which 8
bits a hash are kept (P. Li and A. C. König, "b-bit minwise hashing", WWW 2010): a text takes 128 bytes, and
cannot be read back from them. Candidates come from locality-sensitive hashing: bands of the signature, as
many hashes each as still find a text at the threshold in 99 of 100 cases. Every band has a table of fixed
size whose rows hold the four newest texts, so memory is bounded whatever comes.
"""

from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash  # type: ignore[import-untyped]  # published without type information

from schemas.raw import ApiRequest, LogLine, Payload

HASHES: Final = 128
SHORTEST: Final = 20
"""Characters below which a text is not judged: a change of one is a different message there."""

_SEED: Final = 1
_RUN: Final = 3
_LONGEST: Final = 4096
_WAYS: Final = 4
_FOUND: Final = 0.99
_CHANCE: Final = 1 / 256  # that 8 bits agree of themselves
_REMEMBERED: Final = 8192
_REMEMBERED_LENGTH: Final = 512

Signature = NDArray[np.uint8]
_BUCKETS: Final = 16
_RECORD: Final = Struct("<dQBB110s128s")
"""In the changelog: when it was first seen (s), its source's hash, the version of the hashing, the length of
the event's id, the id, the signature. 256 bytes, so that a cut at any power of two above cuts no record."""

_LONGEST_ID: Final = 110
_Entry = tuple[float, int, bytes, bytes]


def text_of(data: Payload) -> str:
    """Return the text that is compared: the message or the request, as sent; empty for readings.

    Not the text that cleaning masked: lines that differ in all their numbers would be the same there.
    """
    if isinstance(data, LogLine):
        return data.message
    if isinstance(data, ApiRequest):
        target = f"{data.path}?{data.query}" if data.query else data.path
        return f"{data.method} {target} {data.body}" if data.body else f"{data.method} {target}"
    return ""


def shingles(text: str) -> set[str]:
    """Return the runs of three characters of a text."""
    return {text[at : at + _RUN] for at in range(max(1, len(text) - _RUN + 1))}


def signature(text: str) -> bytes:
    """Return the low bytes of the text's 128 minima; the same in every process."""
    text = text[:_LONGEST]
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # halves of surrogate pairs have no bytes to hash
    sketch = RMinHash(HASHES, _SEED)
    sketch.update(list(shingles(text)))
    return np.array(sketch.digest(), dtype=np.uint32).astype(np.uint8).tobytes()


def rows_of_a_band(threshold: float) -> int:
    """Return how many hashes make a band: the most that find a text at the threshold in 99 of 100 cases."""
    jaccard = threshold / (2.0 - threshold)
    for rows in range(16, 1, -1):
        if 1.0 - (1.0 - jaccard**rows) ** (HASHES // rows) >= _FOUND:
            return rows
    return 1


class NearDuplicates:
    """The first-seen texts of one stream in one partition: the last `capacity`, for `window_s` each.

    A text that is nearly a remembered one is not remembered itself: the window runs from first sight, and
    likeness is never passed on from copy to copy. Its state goes through the changelog, at 256 bytes a text,
    and comes back from it as that of `Dedupe` does. Memory: about 700 bytes a text.
    """

    def __init__(self, threshold: float, window_s: float, capacity: int) -> None:
        self.window_s = window_s
        self.bucket_s = max(window_s / _BUCKETS, 0.001)
        """The changelog's unit of time, as `Dedupe` has it."""
        jaccard = threshold / (2.0 - threshold)
        self._matches = int(np.ceil(HASHES * (jaccard + (1.0 - jaccard) * _CHANCE) - 1e-9))
        self._rows = rows_of_a_band(threshold)
        self._capacity = capacity
        self._signatures = np.zeros((capacity, HASHES), dtype=np.uint8)
        self._sources = np.zeros(capacity, dtype=np.uint64)
        self._times = np.full(capacity, -np.inf)
        self._ids = [b""] * capacity
        bands = HASHES // self._rows
        places = 1 << max(4, (2 * capacity // _WAYS - 1).bit_length())
        self._table = np.full((bands, places, _WAYS), -1, dtype=np.int64)  # numbers of texts
        self._band = np.arange(bands)
        odd = np.random.Generator(np.random.PCG64(_SEED)).integers(0, 2**63, (bands, self._rows), np.uint64)
        self._mix = odd | np.uint64(1)  # (bands, rows)
        self._shift = np.uint64(64 - (places.bit_length() - 1))
        self._count = 0
        self._now = -np.inf
        self._added: list[bytes] = []
        self._cache: OrderedDict[str, bytes] = OrderedDict()

    def __len__(self) -> int:
        known = self._times[: self._count]
        return int(np.count_nonzero(known >= self._now - self.window_s))

    def advance(self, now_s: float) -> None:
        """Move to `now_s` (seconds since 1970); what was first seen a window before is forgotten."""
        self._now = max(self._now, now_s)

    def find(self, source: str, text: str) -> str | None:
        """Return the id of the remembered event of the same source whose text is most alike, if near enough.

        Of several as near, the newest.
        """
        if len(text) < SHORTEST:
            return None
        sketch = np.frombuffer(self._signature(text), dtype=np.uint8)
        whose = _source_hash(source)
        found = self._table[self._band, self._places(sketch, whose)].ravel()
        found = found[found >= max(0, self._count - self._capacity)]
        if not found.size:
            return None
        numbers = found
        found = numbers % self._capacity
        known = (self._sources[found] == whose) & (self._times[found] >= self._now - self.window_s)
        same = np.count_nonzero(self._signatures[found] == sketch, axis=1) * known
        best = int(same.max())
        if best < self._matches:
            return None
        newest = int(numbers[same == best].max())  # by number: those of one batch have the same time
        return self._ids[newest % self._capacity].decode("utf-8", "surrogatepass")

    def add(self, source: str, event_id: str, text: str) -> None:
        """Remember an accepted event that is nearly none of those remembered."""
        known = event_id.encode("utf-8", "surrogatepass")
        if len(text) >= SHORTEST and len(known) <= _LONGEST_ID:
            entry = (self._now, int(_source_hash(source)), known, self._signature(text))
            self._place(entry)
            self._added.append(_packed(entry))

    def delta(self) -> tuple[int, bytes]:
        """Return the present bucket and the packed texts added since the last call, 256 bytes each."""
        packed = b"".join(self._added)
        self._added.clear()
        return int(max(self._now, 0.0) / self.bucket_s), packed

    def restore(self, deltas: Iterable[tuple[float, int, bytes]]) -> int:
        """Take in deltas `(bucket_s, bucket, packed)`, oldest first; returns how many texts.

        Left out is what lies out of the window, and what an incompatible version of the hashing wrote: those
        texts count as new ones.
        """
        count = 0
        for _, _, packed in deltas:
            for time, source, version, length, event_id, sketch in _RECORD.iter_unpack(packed):
                if version == RMinHash.ALGORITHM_VERSION and time >= self._now - self.window_s:
                    self._place((time, source, event_id[:length], sketch))
                    count += 1
        return count

    def snapshot(self) -> list[tuple[float, int, bytes]]:
        """Return everything remembered as deltas, oldest first."""
        buckets: dict[int, list[bytes]] = {}
        for number in range(max(0, self._count - self._capacity), self._count):
            slot = number % self._capacity
            time = float(self._times[slot])
            if time >= self._now - self.window_s:
                entry = (time, int(self._sources[slot]), self._ids[slot], self._signatures[slot].tobytes())
                buckets.setdefault(int(max(time, 0.0) / self.bucket_s), []).append(_packed(entry))
        return [(self.bucket_s, bucket, b"".join(entries)) for bucket, entries in buckets.items()]

    def _place(self, entry: _Entry) -> None:
        """Put an entry over the oldest; the tables' rows lose their oldest as well."""
        time, hashed, event_id, packed = entry
        number, slot = self._count, self._count % self._capacity
        self._count += 1
        sketch = np.frombuffer(packed, dtype=np.uint8)
        whose = np.uint64(hashed)
        self._signatures[slot], self._sources[slot] = sketch, whose
        self._times[slot], self._ids[slot] = time, event_id
        at = self._places(sketch, whose)
        self._table[self._band, at, 1:] = self._table[self._band, at, :-1]
        self._table[self._band, at, 0] = number

    def _places(self, sketch: Signature, source: np.uint64) -> NDArray[np.uint64]:
        """Return the row of each band's table, `(bands,)`: multiplicative hashing, the source mixed in."""
        words = sketch[: self._mix.size].reshape(-1, self._rows).astype(np.uint64) + np.uint64(1)
        mixed = ((words * self._mix).sum(axis=1) ^ source) * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray(mixed >> self._shift, dtype=np.uint64)

    def _signature(self, text: str) -> bytes:
        """Return a text's signature; short texts that came lately are answered from memory."""
        known = self._cache.get(text)
        if known is None:
            known = signature(text)
            if len(text) <= _REMEMBERED_LENGTH:
                self._cache[text] = known
                if len(self._cache) > _REMEMBERED:
                    self._cache.popitem(last=False)
        return known


def _source_hash(source: str) -> np.uint64:
    digest = blake2b(source.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _packed(entry: _Entry) -> bytes:
    time, source, event_id, sketch = entry
    return _RECORD.pack(time, source, RMinHash.ALGORITHM_VERSION, len(event_id), event_id, sketch)
