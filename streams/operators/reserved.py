"""Arrays that grow in place: consumed by the fingerprint table, which they let grow without a copy.

Address space is reserved ahead and costs nothing until it is written. Growing moves page tables (mremap), not
memory, so that a table of a gigabyte never stands in memory twice.
"""

import mmap
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_NORESERVE: Final = 0x4000
"""Linux's MAP_NORESERVE, which this Python does not name: untouched space is not counted as taken."""


class ReservedArray:
    """A flat array of zeros in private memory of its own.

    Whoever holds a view of `array` must let it go before `grow`.
    """

    def __init__(self, dtype: type[np.generic], length: int) -> None:
        self._dtype = np.dtype(dtype)
        self._map = mmap.mmap(
            -1,
            self._bytes(length),
            flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NORESERVE,
        )
        # Huge pages would take memory for the unused end of every region.
        self._map.madvise(mmap.MADV_NOHUGEPAGE)
        self.array: NDArray[Any] = np.frombuffer(self._map, dtype=self._dtype)

    def grow(self, length: int) -> None:
        """Make the array `length` long; what it holds stays, the new end is zero.

        Raises:
            BufferError: somebody still holds a view.
        """
        del self.array
        try:
            self._map.resize(self._bytes(length))
        finally:
            self.array = np.frombuffer(self._map, dtype=self._dtype)

    def give_back(self, start: int, stop: int) -> None:
        """Return the memory of `array[start:stop]`, as whole pages, to the system; it reads zero then."""
        size = self._dtype.itemsize
        first = -(-start * size // mmap.PAGESIZE) * mmap.PAGESIZE
        last = stop * size // mmap.PAGESIZE * mmap.PAGESIZE
        if last > first:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def _bytes(self, length: int) -> int:
        return -(-length * self._dtype.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
