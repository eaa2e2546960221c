"""Finds what a test would know from training: consumes both sides' rows, produces the test without leaks.

A row leaks if the same content was trained on (the text as the model sees it, masked; or the same readings),
or one nearly the same: at least nine tenths of the runs of three characters shared, as estimated by MinHash
(A. Z. Broder, "On the resemblance and containment of documents", 1997) in rensa's index.

A stream that repeats itself is another matter: a content that was trained on `RECURRING` times or more is its
habit, will come again in service, and may be the very thing whose meaning drifted. Such rows stay and are
counted. Leaks are dropped as long as `ENOUGH` rows remain to judge by; below that the mildest stay, near ones
first and no content twice while others are there, and it is told how many.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from rensa import RMinHash, RMinHashLSH  # type: ignore[import-untyped]  # published without type information

from trainers.row import Row

ENOUGH: Final = 100
"""Rows of a test below which leaks are no longer dropped: a paired test of fewer says little."""

RECURRING: Final = 3
"""Rows of one content, or nearly one, in training from which it counts as the stream's own habit."""

NEAR: Final = 0.9
"""Similarity (Dice's, of runs of three characters) from which two texts are nearly the same."""

_HASHES: Final = 128
_BANDS: Final = 16
"""Bands of eight hashes: of texts at the threshold (Jaccard 0.82) 97 in 100 share one."""

_SEED: Final = 1
_RUN: Final = 3
_SHORTEST: Final = 20
_LONGEST: Final = 4096


class Leaks(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows were met twice.

    `identity` counts events that came twice, `content` and `near` the leaks of the test, of which `kept`
    stayed; `recurring` the rows of the test that the stream repeats all the time, which stay as well.
    """

    identity: int = 0
    content: int = 0
    near: int = 0
    recurring: int = 0
    kept: int = 0

    def __add__(self, other: "Leaks") -> "Leaks":
        return Leaks(
            identity=self.identity + other.identity,
            content=self.content + other.content,
            near=self.near + other.near,
            recurring=self.recurring + other.recurring,
            kept=self.kept + other.kept,
        )


def fingerprint(row: Row) -> bytes:
    """Return 16 bytes that stand for a row's content, whatever its identity and label."""
    content = msgspec.json.encode([row.text, row.values], order="sorted")
    return hashlib.blake2b(content, digest_size=16).digest()


class Known:
    """What training rows have taught: consumes the rows of a test, produces those that are new."""

    def __init__(self, training: Iterable[Row]) -> None:
        rows = list(training)
        self._times = Counter(fingerprint(row) for row in rows)
        self._index = _Index(row.text for row in rows)

    def without_leaks(self, test: Sequence[Row], enough: int = ENOUGH) -> tuple[list[Row], Leaks]:
        """Return the rows of a test that training does not know, in their order, and what was found."""
        prints = [fingerprint(row) for row in test]
        copies, near, recurring = list[int](), list[int](), 0
        for number, row in enumerate(test):
            same = self._times[prints[number]]
            alike = same or self._index.count(row.text)
            if alike >= RECURRING:
                recurring += 1
            elif alike:
                (copies if same else near).append(number)
        leaking = {*copies, *near}
        kept = _mildest(near, copies, prints, max(0, enough - (len(test) - len(leaking))))
        rows = [row for number, row in enumerate(test) if number not in leaking or number in kept]
        return rows, Leaks(content=len(copies), near=len(near), recurring=recurring, kept=len(kept))


def _mildest(near: list[int], copies: list[int], prints: list[bytes], count: int) -> set[int]:
    """Choose `count` leaking rows to keep, whatever order they came in: by severity, then by content."""
    seen: set[bytes] = set()
    ranked = []
    for severity, numbers in enumerate((near, copies)):
        for number in sorted(numbers, key=lambda number: (prints[number], number)):
            ranked.append((prints[number] in seen, severity, prints[number], number))
            seen.add(prints[number])
    return {number for *_, number in sorted(ranked)[:count]}


class _Index:
    """Texts that can be asked how often one is nearly among them."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._jaccard = NEAR / (2.0 - NEAR)
        times = Counter(text for text in texts if len(text) >= _SHORTEST)
        self._times = list(times.values())
        self._sketches = [_sketch(text) for text in times]
        self._lsh = RMinHashLSH(self._jaccard, _HASHES, _BANDS)
        self._lsh.insert_many(self._sketches)

    def count(self, text: str) -> int:
        """Return how many rows have nearly this text; counting stops at `RECURRING`."""
        if len(text) < _SHORTEST or not self._sketches:
            return 0
        sketch, found = _sketch(text), 0
        for key in self._lsh.query(sketch):
            if self._sketches[key].jaccard(sketch) >= self._jaccard:
                found += self._times[key]
            if found >= RECURRING:
                break
        return found


def _sketch(text: str) -> RMinHash:
    text = text[:_LONGEST].encode("utf-8", "replace").decode()  # halves of surrogate pairs cannot be hashed
    sketch = RMinHash(_HASHES, _SEED)
    sketch.update(list({text[at : at + _RUN] for at in range(max(1, len(text) - _RUN + 1))}))
    return sketch
