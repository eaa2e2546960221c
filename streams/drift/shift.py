"""Shift of a distribution: consumes rows of readings, finds when windows agree that features moved.

Used for what comes in (features of events) and for what the model answers (class, confidence) alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from streams.detectors.distance import kolmogorov_smirnov, wasserstein
from streams.detectors.psi import Psi
from streams.drift.windows import EventWindows, Row, Thinned

Floats = npt.NDArray[np.float64]
_MAX_LISTED = 8
_MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Moved:
    """One feature that moved: its PSI, and how its values did."""

    name: str
    psi: float
    threshold: float
    ks: float
    wasserstein: float
    before: float
    after: float
    bins: list[str]
    before_shares: list[float]
    after_shares: list[float]


@dataclass(frozen=True)
class Shift:
    """What a window showed. `first` is the earliest event of the first window in the row of moved ones."""

    moved: list[Moved]
    since: float
    window_from: float
    window_to: float
    observations: int
    first: tuple[str, int, int, str, str]
    examples: list[tuple[str, int, int, str, str]]


class ShiftWatch:
    """A reference from the first events, then one comparison per window; `hysteresis` of them must agree."""

    def __init__(
        self, *, threshold: float, window_s: float, reference: int, min_events: int, hysteresis: int
    ) -> None:
        self._threshold = threshold
        self._window_s = window_s
        self._wanted = reference
        self._min_events = min_events
        self._hysteresis = hysteresis
        self.start()

    def start(self) -> None:
        """Forget everything and collect a new reference."""
        self._collected: Thinned | None = Thinned(self._wanted)
        self.psi: Psi | None = None
        self._windows = EventWindows(self._window_s, self._min_events)
        self._streaks: dict[int, int] = {}
        self._began: tuple[float, tuple[str, int, int, str, str]] | None = None
        self.quiet = 0
        self.observations = 0
        self.windows = 0

    @property
    def late(self) -> int:
        """Events too far from the current window to count."""
        return self._windows.late

    @property
    def readiness(self) -> float:
        """Share of the reference that has arrived."""
        if self._collected is None:
            return 1.0
        return min(self._collected.seen / self._wanted, self._collected.span_s() / self._window_s, 0.99)

    def wants(self, time: float) -> bool:
        """Tell whether the row of an event is needed; if so `keep` it."""
        return self._collected.wants() if self._collected is not None else self._windows.wants(time)

    def keep(self, row: Row) -> None:
        """Put a wanted row into the reference or the window."""
        (self._windows if self._collected is None else self._collected).keep(row)

    def reference(self) -> list[Row] | None:
        """Return the rows of the reference once it is complete and not taken yet."""
        collected = self._collected
        if collected is None or collected.seen < self._wanted or collected.seen % 50:
            return None
        return collected.rows if collected.span_s() >= self._window_s else None

    def watch(self, names: Sequence[str], categories: Sequence[int] = (), *, missing: bool = True) -> None:
        """Make the collected rows, padded to the width of `names`, the reference."""
        if self._collected is None:
            raise ValueError("the reference was taken already")
        rows = matrix(self._collected.rows, len(names))
        self.psi = Psi(names, rows, threshold=self._threshold, categories=categories, missing=missing)
        self._collected = None

    def advance(self, time: float) -> Shift | None:
        """Note an event's time; if that ends a window, return what `hysteresis` windows agree on."""
        if self.psi is None:
            return None
        rows = self._windows.advance(time)
        return self._compare(self.psi, rows) if rows else None

    def _compare(self, psi: Psi, rows: list[Row]) -> Shift | None:
        table = matrix(rows, len(psi.names))
        psi.update(table)
        self.windows += 1
        self.observations = len(rows)
        moved = psi.moved
        self._streaks = {f: self._streaks.get(f, 0) + 1 for f in moved}
        if not moved:
            self._began = None
            self.quiet += 1
            return None
        self.quiet = 0
        earliest = min(rows)
        if self._began is None:
            self._began = (earliest.time, earliest.event)
        lasting = [f for f in moved if self._streaks[f] >= self._hysteresis]
        if not lasting:
            return None
        return Shift(
            moved=[_moved(psi, f, table[:, f]) for f in lasting[:_MAX_LISTED]],
            since=self._began[0],
            window_from=earliest.time,
            window_to=max(row.time for row in rows),
            observations=len(rows),
            first=self._began[1],
            examples=_examples(psi, lasting[0], table[:, lasting[0]], rows),
        )

    def nearest(self) -> tuple[str, float, float]:
        """Return name, statistic and threshold of the feature nearest to its threshold."""
        if self.psi is None or not self.psi.names:
            return "", 0.0, self._threshold
        f = int(np.argmax(self.psi.statistics / self.psi.thresholds))
        return self.psi.names[f], float(self.psi.statistics[f]), float(self.psi.thresholds[f])

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "collected": self._collected.snapshot() if self._collected else None,
            "psi": self.psi.snapshot() if self.psi else None,
            "windows": self._windows.snapshot(),
            "streaks": [list(item) for item in self._streaks.items()],
            "began": self._began,
            "counts": [self.quiet, self.observations, self.windows],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.start()
        if state["collected"] is None:
            self._collected = None
        elif self._collected is not None:
            self._collected.restore(state["collected"])
        self.psi = Psi.restored(state["psi"]) if state["psi"] else None
        self._windows.restore(state["windows"])
        self._streaks = dict(state["streaks"])
        began = state["began"]
        self._began = (began[0], tuple(began[1])) if began else None
        self.quiet, self.observations, self.windows = state["counts"]


def matrix(rows: Sequence[Row], width: int) -> Floats:
    """Return the readings as `(n, width)`; rows from before a feature was known are NaN there."""
    table = np.full((len(rows), width), np.nan)
    for number, row in enumerate(rows):
        known = min(width, len(row.readings))
        table[number, :known] = row.readings[:known]
    return table


def _moved(psi: Psi, f: int, values: Floats) -> Moved:
    known = values[~np.isnan(values)]
    reference, window = psi.reference[f], psi.window[f]
    edges = psi.edges[f]
    bins = [f"≤ {edge:.4g}" for edge in edges] + [f"> {edges[-1]:.4g}", "missing"]
    return Moved(
        name=psi.names[f],
        psi=float(psi.statistics[f]),
        threshold=float(psi.thresholds[f]),
        ks=kolmogorov_smirnov(psi.quantiles[f], values),
        wasserstein=wasserstein(psi.quantiles[f], values),
        before=float(np.mean(psi.quantiles[f])),
        after=float(known.mean()) if known.size else float("nan"),
        bins=bins,
        before_shares=(reference / max(1.0, reference.sum())).round(4).tolist(),
        after_shares=(window / max(1.0, window.sum())).round(4).tolist(),
    )


def _examples(psi: Psi, f: int, values: Floats, rows: Sequence[Row]) -> list[tuple[str, int, int, str, str]]:
    """Return events from the bin that grew most."""
    reference, window = psi.reference[f], psi.window[f]
    grown = int(np.argmax(window / max(1.0, window.sum()) - reference / max(1.0, reference.sum())))
    edges = psi.edges[f]
    at = np.where(np.isnan(values), edges.size + 1, np.searchsorted(edges, values, side="left"))
    return [rows[number].event for number in np.flatnonzero(at == grown)[:_MAX_EXAMPLES]]
