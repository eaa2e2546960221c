"""Labelled rows as a matrix: consumes readings by name, produces the newest rows as vectors of one width.

A category is a column of its own for each of its words; columns that appear later are 0 in earlier rows.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from infra.backtest.row import Value

Floats = NDArray[np.float32]


class Vectors:
    """A ring of the newest `size` rows; a missing reading counts as 0."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._columns: dict[str, int] = {}
        self._table: Floats = np.zeros((size, 0), np.float32)
        self._labels: list[str] = []
        self._next = 0
        self._counts: Counter[str] = Counter()

    @property
    def width(self) -> int:
        """Return how many columns there are."""
        return len(self._columns)

    @property
    def rows(self) -> Floats:
        """Return the rows, (n, width), in no order of their own."""
        return self._table[: len(self._labels)]

    @property
    def labels(self) -> list[str]:
        """Return the labels of `rows`."""
        return self._labels

    @property
    def classes(self) -> list[str]:
        """Return the labels there are among the rows."""
        return [label for label, count in self._counts.items() if count]

    def label(self, at: int) -> str:
        """Return the label of one of `rows`."""
        return self._labels[at]

    def read(self, values: Mapping[str, Value], *, grow: bool) -> Floats:
        """Return readings as a vector of the present width."""
        if grow:
            for name, value in values.items():
                self._columns.setdefault(_column(name, value), len(self._columns))
            if self._table.shape[1] < len(self._columns):
                wider = np.zeros((self._size, len(self._columns)), np.float32)
                wider[:, : self._table.shape[1]] = self._table
                self._table = wider
        x = np.zeros(self._table.shape[1], np.float32)
        for name, value in values.items():
            at = self._columns.get(_column(name, value))
            if at is not None:
                x[at] = 1.0 if isinstance(value, str) else value
        return x

    def add(self, values: Mapping[str, Value], label: str) -> None:
        """Take a labelled row in the place of the oldest."""
        x = self.read(values, grow=True)
        if len(self._labels) < self._size:
            self._labels.append(label)
        else:
            self._counts[self._labels[self._next]] -= 1
            self._labels[self._next] = label
        self._counts[label] += 1
        self._table[self._next] = x
        self._next = (self._next + 1) % self._size


def _column(name: str, value: Value) -> str:
    return f"{name}={value}" if isinstance(value, str) else name
