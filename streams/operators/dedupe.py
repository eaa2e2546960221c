"""Drops exact duplicates: an event whose `(source, id)` was accepted within the window is seen already.

Consumes identities, produces packed fingerprints for `dedupe.log`, from which the state is rebuilt. A
fingerprint is BLAKE2b with 128 bits: among 50 million keys two differ in theirs with a probability of 1 −
4·10⁻²⁴. The window is kept in time buckets, forgotten as a whole; an identity is therefore remembered for
the window and at most one bucket (a sixteenth of it) longer. The newest fingerprints lie in a dictionary,
older ones in one compact set per bucket: 50 million take less than 2 GiB.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np

from streams.operators.fingerprints import FINGERPRINT_BYTES, FingerprintSet, words_of

_BUCKETS: Final = 16
_HOT_LIMIT: Final = 131_072


def fingerprint(source: str, event_id: str) -> bytes:
    """Return the 16-byte fingerprint of an event's identity."""
    identity = f"{len(source)}:{source}{event_id}".encode("utf-8", "surrogatepass")
    return blake2b(identity, digest_size=FINGERPRINT_BYTES).digest()


class Dedupe:
    """What was seen of one stream in one partition. Time comes in and never goes back."""

    def __init__(self, window_s: float, *, hot_limit: int = _HOT_LIMIT) -> None:
        self.window_s = window_s
        self._bucket_s = max(window_s / _BUCKETS, 0.001)
        self._hot_limit = hot_limit
        self._hot: dict[bytes, int] = {}
        self._cold: dict[int, FingerprintSet] = {}
        self._bucket = 0
        self._added: list[bytes] = []

    def __len__(self) -> int:
        return len(self._hot) + sum(map(len, self._cold.values()))

    @property
    def has_cold(self) -> bool:
        """Tell whether `seen_long_ago` has anything to look at."""
        return bool(self._cold)

    def advance(self, now_s: float) -> None:
        """Move to `now_s` (seconds since 1970) and forget what lies a window back."""
        bucket = int(now_s / self._bucket_s)
        if bucket <= self._bucket:
            return
        self._bucket = bucket
        for expired in [b for b in self._cold if self._expired(b)]:
            del self._cold[expired]
        if self._hot and self._expired(next(iter(self._hot.values()))):
            self._hot = {key: b for key, b in self._hot.items() if not self._expired(b)}
        if len(self._hot) > self._hot_limit:
            self._cool()

    def seen_long_ago(self, fingerprints: Sequence[bytes]) -> set[bytes]:
        """Return those among a batch that lie in the compact sets."""
        if not self._cold or not fingerprints:
            return set()
        words = words_of(b"".join(fingerprints))
        hit = np.zeros(len(words), dtype=np.bool_)
        for known in self._cold.values():
            hit |= known.contains(words)
        return {fingerprints[index] for index in np.flatnonzero(hit)}

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
        return self._bucket, packed

    def restore(self, deltas: Iterable[tuple[float, int, bytes]]) -> None:
        """Take in deltas `(bucket_s, bucket, packed)` of the changelog, those out of the window left out.

        A changed window changes the buckets' length; an old bucket is then taken for the one it ended in.
        """
        gathered: dict[int, list[bytes]] = {}
        for bucket_s, bucket, packed in deltas:
            own = bucket if bucket_s == self._bucket_s else int((bucket + 1) * bucket_s / self._bucket_s)
            if not self._expired(own):
                gathered.setdefault(min(own, self._bucket), []).append(packed)
        for bucket in sorted(gathered):
            joined = b"".join(gathered[bucket])
            if len(self._hot) + len(joined) // FINGERPRINT_BYTES <= self._hot_limit:
                for at in range(0, len(joined), FINGERPRINT_BYTES):
                    self._hot[joined[at : at + FINGERPRINT_BYTES]] = bucket
            else:
                self._cold.setdefault(bucket, FingerprintSet()).add(words_of(joined))

    def snapshot(self) -> list[tuple[float, int, bytes]]:
        """Return everything remembered, as deltas."""
        hot: dict[int, list[bytes]] = {}
        for key, bucket in self._hot.items():
            hot.setdefault(bucket, []).append(key)
        cold = [(self._bucket_s, bucket, known.packed()) for bucket, known in self._cold.items()]
        return [*cold, *((self._bucket_s, bucket, b"".join(keys)) for bucket, keys in hot.items())]

    @property
    def bucket_s(self) -> float:
        """Return the length of a bucket in seconds."""
        return self._bucket_s

    def _expired(self, bucket: int) -> bool:
        return bucket < self._bucket - _BUCKETS

    def _cool(self) -> None:
        """Move the dictionary's contents into the compact sets."""
        by_bucket: dict[int, list[bytes]] = {}
        for key, bucket in self._hot.items():
            by_bucket.setdefault(bucket, []).append(key)
        for bucket, keys in by_bucket.items():
            self._cold.setdefault(bucket, FingerprintSet()).add(words_of(b"".join(keys)))
        self._hot.clear()
