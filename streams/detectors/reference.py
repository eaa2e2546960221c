"""What was normal: consumes the readings of a reference, produces a sketch that windows are compared with.

Every test of a distribution reads the same sketch: a histogram over the reference's own deciles, and its
quantiles. Memory: about 130 numbers a feature, whatever the reference's size.
"""

from collections.abc import Sequence
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
QUANTILES: Final = np.linspace(0.0, 1.0, 101)
"""The shares at which quantiles are kept."""
_BINS: Final = 10


class Reference:
    """The sketch of features.

    Args:
        names: the features, in column order.
        rows: readings `(N, F)` in order of arrival; NaN where a reading is missing.
        categories: number of codes 0, 1, … of each feature that is a category; 0 for a number.
        missing: whether a reading that is missing counts, as a bin of its own.
    """

    def __init__(
        self, names: Sequence[str], rows: Floats, *, categories: Sequence[int] = (), missing: bool = True
    ) -> None:
        self.names = tuple(names)
        self.missing = missing
        self.categories = tuple(categories) or (0,) * len(self.names)
        found = [_edges(rows[:, f], kind) for f, kind in enumerate(self.categories)]
        widest = max((edges.size for edges in found), default=1)
        self.edges = np.full((len(found), widest), np.inf)  # upper, closed edges; (F, E)
        for f, edges in enumerate(found):
            self.edges[f, : edges.size] = edges
        whole = Window(self, rows)
        self.counts = whole.counts  # (F, E + 2): up to each edge, above the last, missing
        self.quantiles = whole.quantiles  # (F, Q)
        self.scale = np.nan_to_num(whole.spread())  # (F,) standard deviations

    @property
    def numeric(self) -> npt.NDArray[np.bool_]:
        """Which features are numbers that have an order, `(F,)`."""
        numeric: npt.NDArray[np.bool_] = np.asarray(self.categories) == 0
        return numeric

    def edges_of(self, f: int) -> Floats:
        """Return the edges that a feature has, without padding."""
        edges = self.edges[f]
        taken: Floats = edges[np.isfinite(edges)]
        return taken

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "names": list(self.names),
            "missing": self.missing,
            "categories": list(self.categories),
            "edges": [self.edges_of(f).tolist() for f in range(len(self.names))],
            "counts": self.counts.tolist(),
            "quantiles": self.quantiles.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Make a sketch from a snapshot."""
        made = cls.__new__(cls)
        made.names = tuple(state["names"])
        made.missing = state["missing"]
        made.categories = tuple(state["categories"])
        width = max((len(edges) for edges in state["edges"]), default=1)
        made.edges = np.full((len(made.names), width), np.inf)
        for f, edges in enumerate(state["edges"]):
            made.edges[f, : len(edges)] = edges
        made.counts = np.asarray(state["counts"], float).reshape(len(made.names), width + 2)
        made.quantiles = np.asarray(state["quantiles"], float).reshape(len(made.names), QUANTILES.size)
        made.scale = np.asarray(state["scale"], float)
        return made


class Window:
    """Readings `(n, F)` as the tests read them, in the bins of a reference."""

    def __init__(self, reference: Reference, rows: Floats) -> None:
        self._sorted = np.sort(rows, axis=0)  # what is missing comes last
        self.known = rows.shape[0] - np.count_nonzero(np.isnan(rows), axis=0)  # (F,)
        features = len(reference.names)
        width = reference.edges.shape[1]
        self.counts = np.zeros((features, width + 2))
        self.quantiles = np.full((features, QUANTILES.size), np.nan)
        for f in range(features):
            values = self.values(f)
            upto = np.searchsorted(values, reference.edges_of(f), side="right")
            self.counts[f, : upto.size] = np.diff(upto, prepend=0)
            self.counts[f, -2] = values.size - (upto[-1] if upto.size else 0)
            if values.size:
                at = QUANTILES * (values.size - 1)
                self.quantiles[f] = np.interp(at, np.arange(values.size), values)
        if reference.missing:
            self.counts[:, -1] = rows.shape[0] - self.known

    def values(self, f: int) -> Floats:
        """Return the readings of a feature that are not missing, in ascending order."""
        taken: Floats = self._sorted[: self.known[f], f]
        return taken

    def means(self) -> Floats:
        """Return each feature's mean, NaN where nothing was read, `(F,)`."""
        return np.array([v.mean() if v.size else np.nan for v in map(self.values, range(self.known.size))])

    def spread(self) -> Floats:
        """Return each feature's standard deviation, NaN where nothing was read, `(F,)`."""
        return np.array([v.std() if v.size else np.nan for v in map(self.values, range(self.known.size))])


def _edges(values: Floats, categories: int) -> Floats:
    """Return the upper, closed edges of the bins: quantiles, of which a mass point makes one."""
    if categories:
        return np.arange(categories, dtype=float)
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(1)
    inner = np.quantile(known, np.linspace(0.0, 1.0, _BINS + 1)[1:])
    below = np.nextafter(known.min(), -np.inf)  # the bin of what is lower than anything seen
    return np.asarray(np.unique(np.append(inner, below)), float)
