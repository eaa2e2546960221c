"""The table of 128-bit fingerprints: consumes what dedupe remembers beyond the newest, answers whole batches.

A hash table in three numpy columns, 18 bytes a slot: a 16-bit tag, 64 bits of the key, and the key's other 48
bits with the number of the time bucket that it was accepted in. A row is 64 slots, so that one look at 128
bytes of tags answers for almost every key that is not there. A key lies in its home row or, where that was
full, in its other row. Rows lie in pages of some 10,000 keys. Pages grow each for itself and are split one by
one (linear hashing, Litwin 1980), so no call ever moves more than a few of them and the table never stands in
memory twice. The expired are not looked for: they are passed over, and dropped when their page is rebuilt.

Which page and row a key falls into depends on two random numbers of the process: who knows the fingerprint's
function alone cannot fill one page.
"""

import secrets
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.operators.reserved import ReservedArray

FINGERPRINT_BYTES: Final = 16
_SLOTS: Final = 64
_PAGE_ROWS: Final = 512
_PAGE_SLOTS: Final = _PAGE_ROWS * _SLOTS
_PAGE_KEYS: Final = 8192
"""Pages hold so many keys in the mean; those still to be split, twice as many."""
_FULL: Final = 0.85
_SETTLED: Final = 0.62
_STALE: Final = 0.25
_SPREAD: Final = 0.3
"""Pages get between no and so much room more than they need, or all would grow at the same time."""
_FIRST_PAGES: Final = 8

Words = NDArray[np.uint64]
Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Buckets = int | NDArray[np.uint64]


def words_of(packed: bytes | memoryview) -> Words:
    """View packed fingerprints as two columns of words; a tag (last 16 bits) of 0 is made a 1."""
    words = np.frombuffer(packed, dtype="<u8").reshape(-1, 2)  # (N, 2)
    untagged = np.flatnonzero(words[:, 1] < np.uint64(1 << 48))
    if untagged.size:
        words = words.copy()
        words[untagged, 1] |= np.uint64(1 << 48)
    return words


class FingerprintTable:
    """Fingerprints with the bucket they were accepted in, whose number counts modulo 65,536.

    Args:
        expected: as many keys find room without growth.
    """

    def __init__(self, expected: int = 0) -> None:
        self._flip = np.uint64(secrets.randbits(64))
        self._factor = np.uint64(secrets.randbits(64) | 1)
        self._oldest = 0
        self._total = 0
        self._sweeping = 0
        self._pages = max(1, -(-expected // _PAGE_KEYS))
        self._room = max(_FIRST_PAGES, self._pages)
        self._columns = (
            ReservedArray(np.uint16, self._room * _PAGE_SLOTS),
            ReservedArray(np.uint64, self._room * _PAGE_SLOTS),
            ReservedArray(np.uint64, self._room * _PAGE_SLOTS),
            ReservedArray(np.uint8, self._room * _PAGE_ROWS),
            ReservedArray(np.bool_, self._room * _PAGE_ROWS),
        )
        self._rows: NDArray[np.uint64] = np.ones(self._room, dtype=np.uint64)  # (pages,)
        self._used: Index = np.zeros(self._room, dtype=np.int64)  # (pages,)
        self._attach()
        self._plan_rows(expected)

    def __len__(self) -> int:
        """Return how many lie in the table, the expired that were not dropped yet included."""
        return self._total

    @property
    def size_bytes(self) -> int:
        """Return the memory that the columns may have taken: the rows in use of every page."""
        return int(self._rows[: self._pages].sum()) * (_SLOTS * 18 + 2)

    def expire(self, oldest: int) -> None:
        """Take everything before bucket `oldest` for absent from now on."""
        self._oldest = oldest & 0xFFFF

    def contains(self, words: Words) -> Mask:
        """Tell which of the fingerprints (N, 2) are in the table and not expired."""
        first, low = words[:, 0], words[:, 1]
        tag = (low >> np.uint64(48)).astype(np.uint16)
        _, home, other = self._locate(first)
        found = self._match(home, tag, first, low)
        spilled = np.flatnonzero(self._spilled.take(home) & ~found)
        if spilled.size:
            found[spilled] = self._match(other[spilled], tag[spilled], first[spilled], low[spilled])
        return found

    def add(self, words: Words, buckets: Buckets) -> None:
        """Add fingerprints (N, 2) that are not there, all of one bucket or each (N,) of its own.

        A few thousand at a time keep the call short; one that is there already is held twice.
        """
        while self._total + len(words) > self._pages * _PAGE_KEYS:
            self._split()
        self._insert(words[:, 0], (words[:, 1] << np.uint64(16)) | _short(buckets), _tags(words))

    def sweep(self, pages: int) -> None:
        """Look at the next pages, and rebuild those that the expired fill to a quarter."""
        for _ in range(min(pages, self._pages)):
            page = self._sweeping = (self._sweeping + 1) % self._pages
            if self._used[page]:
                _, second, _ = self._live(page)
                if len(second) <= (1 - _STALE) * self._used[page]:
                    self._resize(page, 0)

    def packed(self) -> dict[int, bytes]:
        """Return the fingerprints of every bucket (number modulo 65,536), 16 bytes each, in no set order."""
        gathered: dict[int, list[bytes]] = {}
        for page in range(self._pages):
            first, second, tag = self._live(page)
            words = np.column_stack(
                (first, (second >> np.uint64(16)) | (tag.astype(np.uint64) << np.uint64(48)))
            )
            buckets = second.astype(np.uint16)
            for bucket in np.unique(buckets):
                gathered.setdefault(int(bucket), []).append(words[buckets == bucket].astype("<u8").tobytes())
        return {bucket: b"".join(parts) for bucket, parts in gathered.items()}

    def release(self, pages: int) -> bool:
        """Give the memory of the last pages back; tell whether none is left. The table is of no more use."""
        keep = max(0, self._pages - pages)
        for column in self._columns[:3]:
            column.give_back(keep * _PAGE_SLOTS, self._pages * _PAGE_SLOTS)
        self._pages = keep
        return keep == 0

    def _attach(self) -> None:
        tags, first, second, fill, spilled = (column.array for column in self._columns)
        self._flat_tags: NDArray[np.uint16] = tags  # (slots,)
        self._tags: NDArray[np.uint16] = tags.reshape(-1, _SLOTS)  # (rows, 64)
        self._first: Words = first  # (slots,)
        self._second: Words = second  # (slots,): 48 bits of the key, 16 of the bucket
        self._fill: NDArray[np.uint8] = fill  # (rows,)
        self._spilled: Mask = spilled  # (rows,): a key of this row may lie in its other row

    def _detach(self) -> None:
        del self._flat_tags, self._tags, self._first, self._second, self._fill, self._spilled

    def _locate(self, first: Words) -> tuple[Index, Index, Index]:
        """Return each key's page, home row and other row."""
        mixed = (first ^ self._flip) * self._factor
        mask = (1 << (self._pages - 1).bit_length()) - 1
        page = (mixed >> np.uint64(48)).astype(np.int64) & mask
        page = np.where(page >= self._pages, page & (mask >> 1), page)
        rows, base = self._rows.take(page), page * _PAGE_ROWS
        half, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
        home = (((mixed >> np.uint64(16)) & half) * rows >> shift).astype(np.int64) + base
        return page, home, ((mixed & half) * rows >> shift).astype(np.int64) + base

    def _match(self, rows: Index, tag: NDArray[np.uint16], first: Words, low: Words) -> Mask:
        """Tell which keys lie in the given rows."""
        found = np.zeros(len(rows), dtype=np.bool_)
        at = np.flatnonzero(self._tags.take(rows, axis=0) == tag[:, np.newaxis])  # of (N, 64)
        if not at.size:
            return found
        which = at // _SLOTS
        slot = rows[which] * _SLOTS + at % _SLOTS
        second = self._second.take(slot)
        same = (self._first.take(slot) == first[which]) & ((second ^ (low[which] << np.uint64(16))) < 1 << 16)
        found[which[same & self._fresh(second)]] = True
        return found

    def _fresh(self, second: Words) -> Mask:
        return (second.astype(np.uint16) - np.uint16(self._oldest)) < np.uint16(1 << 15)

    def _insert(self, first: Words, second: Words, tag: NDArray[np.uint16]) -> None:
        if not len(first):
            return
        page, home, other = self._locate(first)
        coming = np.bincount(page, minlength=self._pages)
        limit = self._rows[: self._pages] * (_SLOTS * _FULL)
        crowded = np.flatnonzero(self._used[: self._pages] + coming > limit)
        if crowded.size:
            for each in crowded:
                self._resize(int(each), int(coming[each]))
            page, home, other = self._locate(first)
        left = self._place(home, first, second, tag)
        if left.size:
            self._spilled[home[left]] = True
            left = left[self._place(other[left], first[left], second[left], tag[left])]
        if left.size:
            coming -= np.bincount(page[left], minlength=self._pages)
        self._used[: self._pages] += coming
        self._total += len(first) - len(left)
        if left.size:
            self._insert_crowded(page[left], first[left], second[left], tag[left])

    def _insert_crowded(self, page: Index, first: Words, second: Words, tag: NDArray[np.uint16]) -> None:
        """Make room for keys both of whose rows are full; of copies of one key, only one is worth it."""
        _, distinct = np.unique(np.column_stack((first, second >> np.uint64(16))), axis=0, return_index=True)
        page, first, second, tag = page[distinct], first[distinct], second[distinct], tag[distinct]
        new = ~self.contains(np.column_stack((first, _second_words(second, tag))))
        for each in np.unique(page[new]):
            self._resize(int(each), int((page[new] == each).sum()), spare=1.15)
        if new.any():
            self._insert(first[new], second[new], tag[new])

    def _place(self, rows: Index, first: Words, second: Words, tag: NDArray[np.uint16]) -> Index:
        """Put keys into the free slots of their rows; return the indices of those that found none."""
        order = _order_of(rows)
        sorted_rows = rows[order]
        position = np.arange(len(rows))
        begins = np.empty(len(rows), dtype=np.bool_)
        begins[:1] = True
        np.not_equal(sorted_rows[1:], sorted_rows[:-1], out=begins[1:])
        rank = position - np.maximum.accumulate(np.where(begins, position, 0))
        taken = self._fill.take(sorted_rows) + rank
        ends = np.append(begins[1:], True)
        self._fill[sorted_rows[ends]] = np.minimum(taken[ends] + 1, _SLOTS)
        fits = taken < _SLOTS
        if fits.all():
            chosen, slot, left = order, sorted_rows * _SLOTS + taken, order[:0]
        else:
            chosen, left = order[fits], order[~fits]
            slot = sorted_rows[fits] * _SLOTS + taken[fits]
        self._flat_tags[slot] = tag[chosen]
        self._first[slot] = first[chosen]
        self._second[slot] = second[chosen]
        return left

    def _live(self, page: int) -> tuple[Words, Words, NDArray[np.uint16]]:
        """Return copies of what a page holds and is not expired."""
        start = page * _PAGE_SLOTS
        stop = start + int(self._rows[page]) * _SLOTS
        tag = self._flat_tags[start:stop]
        second = self._second[start:stop]
        at = np.flatnonzero((tag != 0) & self._fresh(second))
        return self._first[start:stop][at], second[at], tag[at]

    def _clear(self, page: int, rows: int) -> None:
        """Empty a page and give it `rows` rows."""
        before = int(self._rows[page])
        top = page * _PAGE_ROWS
        self._tags[top : top + before] = 0
        self._fill[top : top + before] = 0
        self._spilled[top : top + before] = False
        self._rows[page] = rows
        self._total -= int(self._used[page])
        self._used[page] = 0
        if rows < before:
            for column in self._columns[:3]:
                column.give_back((top + rows) * _SLOTS, (top + before) * _SLOTS)

    def _resize(self, page: int, coming: int, spare: float = 1.0) -> None:
        """Rebuild a page without the expired, with room for `coming` more."""
        first, second, tag = self._live(page)
        keys = len(first) + coming
        wanted, rows = _rows_for(page, keys * spare), int(self._rows[page])
        if spare > 1:
            rows = min(max(wanted, rows + 1), _PAGE_ROWS)
        elif wanted < rows // 2 or keys > _SETTLED * rows * _SLOTS:
            rows = wanted
        self._clear(page, rows)
        self._insert(first, second, tag)

    def _split(self) -> None:
        """Add one page, and move half of the next page in turn into it."""
        if self._pages == self._room:
            self._make_room(2 * self._room)
        new = self._pages
        old = new - (1 << (new.bit_length() - 1))
        first, second, tag = self._live(old)
        self._pages += 1
        rows = _rows_for(old, len(first) * 0.52)
        self._clear(old, rows)
        self._rows[new] = _rows_for(new, len(first) * 0.52)
        self._insert(first, second, tag)

    def _make_room(self, pages: int) -> None:
        self._detach()
        for column, size in zip(self._columns, (_PAGE_SLOTS,) * 3 + (_PAGE_ROWS,) * 2, strict=True):
            column.grow(pages * size)
        self._attach()
        self._rows = np.append(self._rows, np.ones(pages - self._room, dtype=np.uint64))
        self._used = np.append(self._used, np.zeros(pages - self._room, dtype=np.int64))
        self._room = pages

    def _plan_rows(self, expected: int) -> None:
        """Size the pages of a new table for `expected` keys."""
        whole = 1 << (self._pages.bit_length() - 1)
        for page in range(self._pages):
            split = page >= whole or page < self._pages - whole
            share = expected / (2 * whole if split else whole)
            self._rows[page] = _rows_for(page, share * 0.85)  # nearer to full than after growth


def _rows_for(page: int, keys: float) -> int:
    """Return how many rows hold so many keys, with some more room in some pages than in others."""
    spread = 1 + _SPREAD * (page * 0.6180339887 % 1)
    return min(_PAGE_ROWS, max(1, -(-int(keys * spread) // int(_SLOTS * _SETTLED))))


def _order_of(rows: Index) -> Index:
    """Return what sorts the rows; numpy sorts 16 bits by radix, five to ten times faster than whole words."""
    order = np.argsort(rows.astype(np.uint16), kind="stable")
    high = (rows >> 16).astype(np.uint16)
    if (high != high[:1]).any():
        order = order[np.argsort(high[order], kind="stable")]
    return order


def _second_words(second: Words, tag: NDArray[np.uint16]) -> Words:
    return (second >> np.uint64(16)) | (tag.astype(np.uint64) << np.uint64(48))


def _tags(words: Words) -> NDArray[np.uint16]:
    return (words[:, 1] >> np.uint64(48)).astype(np.uint16)


def _short(buckets: Buckets) -> np.uint64 | NDArray[np.uint64]:
    return np.bitwise_and(np.asarray(buckets, dtype=np.uint64), np.uint64(0xFFFF))
