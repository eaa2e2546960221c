"""Drops exact duplicates: an event whose `(source, id)` was accepted within the window is seen already.

Consumes identities, produces packed fingerprints for `dedupe.log`, from which the state is rebuilt. A
fingerprint is BLAKE2b with 128 bits: among 50 million keys two differ in theirs with a probability of 1 −
4·10⁻²⁴, and nobody can make an id that collides with another's. The window is kept in time buckets; an
identity is remembered for the window and at most one bucket (a sixteenth of it) longer. The newest
fingerprints lie in a dictionary, all others in one FingerprintTable: 50 million take about 1.6 GB, and no
call stops the stream for longer than some milliseconds, whatever expires or grows.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np

from streams.operators.fingerprints import FINGERPRINT_BYTES, FingerprintTable, words_of

_BUCKETS: Final = 16
_HOT_LIMIT: Final = 16_384
_AT_ONCE: Final = 16_384
_SWEPT: Final = 4
_RELEASED: Final = 24
"""Table pages looked at, and given back, per batch: a few milliseconds."""
_EMPTY: Final = blake2b(digest_size=FINGERPRINT_BYTES)

Delta = tuple[float, int, bytes]
"""The length of a bucket in seconds, the bucket, and the packed fingerprints added in it."""


def fingerprint(source: str, event_id: str) -> bytes:
    """Return the 16-byte fingerprint of an event's identity."""
    state = _EMPTY.copy()
    state.update(f"{len(source)}:{source}{event_id}".encode("utf-8", "surrogatepass"))
    return state.digest()


def fingerprints(identities: Iterable[tuple[str, str]]) -> list[bytes]:
    """Return the fingerprints of a batch of `(source, id)`."""
    empty, found = _EMPTY.copy, []
    for source, event_id in identities:
        state = empty()  # cheaper than a new one, whose keyword costs as much as the hash
        state.update(f"{len(source)}:{source}{event_id}".encode("utf-8", "surrogatepass"))
        found.append(state.digest())
    return found


class Dedupe:
    """What was seen of one stream in one partition. Time comes in and never goes back."""

    def __init__(self, window_s: float, *, hot_limit: int = _HOT_LIMIT) -> None:
        self.window_s = window_s
        self._bucket_s = max(window_s / _BUCKETS, 0.001)
        self._hot_limit = hot_limit
        self._hot: dict[bytes, int] = {}
        self._hot_since = 0  # no bucket in the dictionary is older
        self._cold: FingerprintTable | None = None
        self._retired: list[FingerprintTable] = []
        self._counts: dict[int, int] = {}  # of the cold, by bucket
        self._bucket = 0
        self._added: list[bytes] = []

    def __len__(self) -> int:
        return len(self._hot) + sum(self._counts.values())

    @property
    def has_cold(self) -> bool:
        """Tell whether `seen_long_ago` has anything to look at."""
        return bool(self._counts)

    @property
    def bucket_s(self) -> float:
        """Return the length of a bucket in seconds."""
        return self._bucket_s

    @property
    def size_bytes(self) -> int:
        """Return the memory of the table of older fingerprints."""
        return self._cold.size_bytes if self._cold else 0

    def advance(self, now_s: float) -> None:
        """Move to `now_s` (seconds since 1970) and forget what lies a window back."""
        bucket = int(now_s / self._bucket_s)
        if bucket <= self._bucket:
            return
        if bucket - self._bucket > _BUCKETS and self._cold is not None:
            # All of it is out. Buckets are kept modulo 65,536: nothing may stay for a second round.
            self._retired.append(self._cold)
            self._cold, self._counts = None, {}
        self._bucket = bucket
        for expired in [b for b in self._counts if self._expired(b)]:
            del self._counts[expired]
        if self._expired(self._hot_since):
            self._hot = {key: b for key, b in self._hot.items() if not self._expired(b)}
            self._hot_since = min(self._hot.values(), default=bucket)
        if self._cold is not None:
            self._cold.expire(bucket - _BUCKETS)
        self._tidy()

    def seen_long_ago(self, keys: Sequence[bytes]) -> set[bytes]:
        """Return those among a batch of fingerprints that lie in the table of older ones."""
        if self._cold is None or not keys:
            return set()
        hit = self._cold.contains(words_of(b"".join(keys)))
        return {keys[index] for index in np.flatnonzero(hit)} if hit.any() else set()

    def newest(self) -> tuple[dict[bytes, int], list[bytes], int]:
        """Return the dictionary of the newest, the keys added since `delta`, and the bucket of now.

        For native code, which does with them what `seen` and `add` do; they are good until the next call.
        """
        return self._hot, self._added, self._bucket

    def seen(self, key: bytes) -> bool:
        """Tell whether a fingerprint lies in the dictionary of the newest."""
        return key in self._hot

    def add(self, key: bytes) -> None:
        """Remember an accepted event's fingerprint."""
        self._hot[key] = self._bucket
        self._added.append(key)

    def delta(self) -> tuple[int, bytes]:
        """Return the bucket and the packed fingerprints added since the last call."""
        packed = b"".join(self._added)
        self._added.clear()
        if len(self._hot) > self._hot_limit:
            self._cool()
        else:
            self._tidy()
        return self._bucket, packed

    def reserve(self, count: int) -> None:
        """Make room for so many fingerprints that `restore` will bring, while nothing is remembered yet."""
        if self._cold is None and count > self._hot_limit:
            self._cold = FingerprintTable(count)
            self._cold.expire(self._bucket - _BUCKETS)

    def restore(self, deltas: Iterable[Delta]) -> int:
        """Take in deltas of the changelog, those out of the window left out; return how many fingerprints.

        May be called again with the deltas that follow. A changed window changes the buckets' length; an old
        bucket is then taken for the one it ended in.
        """
        gathered: dict[int, list[bytes]] = {}
        for bucket_s, bucket, packed in deltas:
            own = bucket if bucket_s == self._bucket_s else int((bucket + 1) * bucket_s / self._bucket_s)
            if not self._expired(own):
                gathered.setdefault(min(own, self._bucket), []).append(packed)
        count = sum(len(packed) for parts in gathered.values() for packed in parts) // FINGERPRINT_BYTES
        cold = self._cold is not None or len(self._hot) + count > self._hot_limit
        for bucket in sorted(gathered):
            joined = b"".join(gathered[bucket])
            if cold:
                self._add_cold(joined, bucket)
            else:
                self._hot_since = min(self._hot_since, bucket)
                for at in range(0, len(joined), FINGERPRINT_BYTES):
                    self._hot[joined[at : at + FINGERPRINT_BYTES]] = bucket
        return count

    def snapshot(self) -> list[Delta]:
        """Return everything remembered, as deltas."""
        hot: dict[int, list[bytes]] = {}
        for key, bucket in self._hot.items():
            hot.setdefault(bucket, []).append(key)
        cold = self._cold.packed() if self._cold is not None else {}
        since = self._bucket - ((self._bucket - np.fromiter(cold, np.int64, len(cold))) & 0xFFFF)
        return [
            *(
                (self._bucket_s, int(bucket), packed)
                for bucket, packed in zip(since, cold.values(), strict=True)
            ),
            *((self._bucket_s, bucket, b"".join(keys)) for bucket, keys in hot.items()),
        ]

    def _expired(self, bucket: int) -> bool:
        return bucket < self._bucket - _BUCKETS

    def _cool(self) -> None:
        """Move the dictionary's contents into the table."""
        keys, buckets = b"".join(self._hot), np.fromiter(self._hot.values(), np.int64, len(self._hot))
        self._hot.clear()
        self._hot_since = self._bucket
        words, table = words_of(keys), self._table()
        for at in range(0, len(words), _AT_ONCE):
            table.add(words[at : at + _AT_ONCE], buckets[at : at + _AT_ONCE].astype(np.uint64))
        for bucket, count in zip(*np.unique(buckets, return_counts=True), strict=True):
            self._counts[int(bucket)] = self._counts.get(int(bucket), 0) + int(count)

    def _add_cold(self, packed: bytes, bucket: int) -> None:
        words, table = words_of(packed), self._table()
        for at in range(0, len(words), 16 * _AT_ONCE):
            table.add(words[at : at + 16 * _AT_ONCE], bucket)
        self._counts[bucket] = self._counts.get(bucket, 0) + len(words)

    def _table(self) -> FingerprintTable:
        if self._cold is None:
            self._cold = FingerprintTable()
            self._cold.expire(self._bucket - _BUCKETS)
        return self._cold

    def _tidy(self) -> None:
        """Give some of the memory back that expired fingerprints take."""
        if self._cold is not None:
            self._cold.sweep(_SWEPT)
        while self._retired and self._retired[0].release(_RELEASED):
            del self._retired[0]
            break
