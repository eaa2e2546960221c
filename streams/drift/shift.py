"""Shift of a distribution: consumes rows of readings, finds when windows agree that features moved.

Used for what comes in (features of events) and for what the model answers (class, confidence) alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.config import ShiftDrift
from streams.detectors.distance import kolmogorov_smirnov, wasserstein
from streams.detectors.psi import Psi
from streams.drift.rows import Row, Thinned
from streams.operators.watermark import Watermark
from streams.operators.windows import EventWindows, Windowing

Floats = npt.NDArray[np.float64]
_MAX_LISTED: Final = 8
_MAX_EXAMPLES: Final = 5
_MAX_ROWS: Final = 2048
_AGREEING: Final = 8
_IDLE_S: Final = 5.0
_OPEN: Final = 8
_ASTRAY: Final = 64


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
    """A reference from the first events, then one comparison per window; `hysteresis` of them must agree.

    A window that closed stays as it is: what comes for it later is counted and left out. One with too few
    events goes on with the next. A few wrong clocks move nothing: eight of 64 events must agree on how far
    event time is; a partition that lies six windows behind the others is not waited for. When for five
    seconds nothing but late events came, event time itself went back, and the windows begin anew there.

    Memory: eight open windows of twice 2,048 rows; denser streams are thinned evenly.
    """

    def __init__(self, config: ShiftDrift, hysteresis: int) -> None:
        self._threshold = config.psi
        self._window_s = config.window
        self._lateness_s = config.lateness
        self._wanted = config.reference
        self._min_events = config.min_events
        self._hysteresis = hysteresis
        self.start()

    def start(self) -> None:
        """Forget everything and collect a new reference."""
        self._collected: Thinned | None = Thinned(self._wanted)
        self.psi: Psi | None = None
        self._streaks: dict[int, int] = {}
        self._began: tuple[float, tuple[str, int, int, str, str]] | None = None
        self.quiet = 0
        self.observations = 0
        self.windows = 0
        self.late = 0
        """Events that came after their window had closed, or far ahead of the others."""
        self._cut()

    def _cut(self) -> None:
        """Begin with the first window."""
        self._watermark = Watermark(self._lateness_s, _IDLE_S, agreeing=_AGREEING)
        self._windows = EventWindows(
            Windowing(self._window_s, max_open=_OPEN), lambda: Thinned(max(_MAX_ROWS, self._min_events))
        )
        self._gathered: list[Row] = []
        self._seen = 0
        self._from = float("-inf")  # from where on the gathered windows cover event time
        self._on_time_at: float | None = None
        self._astray = 0

    @property
    def readiness(self) -> float:
        """Share of the reference that has arrived."""
        if self._collected is None:
            return 1.0
        return min(self._collected.seen / self._wanted, self._collected.span_s() / self._window_s, 0.99)

    def place(self, time: float) -> Thinned | None:
        """Return where the row of an event is to be kept; None when it is late or others stand for it."""
        if self._collected is not None:
            return self._collected if self._collected.wants() else None
        panes = self._windows.panes("", time)
        if not panes:
            self.late += 1
            self._astray += 1
            return None
        self._astray = 0
        return panes[0] if panes[0].wants() else None

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

    def advance(self, time: float, partition: int, now_s: float) -> Shift | None:
        """Note an event's time; if that closes windows, return what `hysteresis` of them agree on."""
        if self._astray == 0 or self._on_time_at is None:
            self._on_time_at = now_s
        elif self._astray >= _ASTRAY and now_s - self._on_time_at > _IDLE_S:
            self._cut()
        watermark = self._watermark.update(partition, time, now_s)
        if self.psi is None:
            return None
        newest = self._watermark.newest_s
        if self._from == float("-inf"):
            self._from = newest
        found = None
        for fired in self._windows.advance(max(watermark, newest - (_OPEN - 2) * self._window_s)):
            self._gathered += fired.pane.rows
            self._seen += fired.pane.seen
            if self._seen >= self._min_events and fired.end_s - self._from >= 0.99 * self._window_s:
                found = self._compare(self.psi, self._gathered) or found
                self._gathered, self._seen, self._from = [], 0, fired.end_s
        return found

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
            "watermark": self._watermark.snapshot(),
            "windows": self._windows.snapshot(),
            "gathered": [[list(row) for row in self._gathered], self._seen],
            "from": None if self._from == float("-inf") else self._from,
            "astray": [self._astray, self._on_time_at],
            "streaks": [list(item) for item in self._streaks.items()],
            "began": self._began,
            "counts": [self.quiet, self.observations, self.windows, self.late],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.start()
        if state["collected"] is None:
            self._collected = None
        elif self._collected is not None:
            self._collected.restore(state["collected"])
        self.psi = Psi.restored(state["psi"]) if state["psi"] else None
        self._watermark.restore(state["watermark"])
        self._windows.restore(state["windows"])
        rows, self._seen = state["gathered"]
        self._from = float("-inf") if state["from"] is None else state["from"]
        self._gathered = [Row(time, list(readings), tuple(event)) for time, readings, event in rows]
        self._astray, self._on_time_at = state["astray"]
        self._streaks = dict(state["streaks"])
        began = state["began"]
        self._began = (began[0], tuple(began[1])) if began else None
        self.quiet, self.observations, self.windows, self.late = state["counts"]


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
