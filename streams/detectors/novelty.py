"""Novelty of one metric: consumes its readings one by one, produces how unlike everything before each is.

Five aspects of the newest readings are each compared with the same aspect of all readings remembered:

    value      the reading
    step       its difference to the one before it
    level      the mean of the newest `window` readings
    activity   the mean size of their steps
    shape      the means of the newest eight half windows, as one vector

Of an aspect, the distance to the nearest earlier one is taken, and how rare so large a distance is
(`streams.detectors.rarity`); the rarest aspect counts. It is a conformal nearest-neighbour detector as
KNN-CAD is (V. Ishimtsev et al., "Conformal k-NN anomaly detector for univariate data streams", COPA 2017),
with the tail extrapolated, and with aspects in place of one window of raw values.

What lasts is told once: a reading scores only if it is rarer than all in the `window` before it.
"""

from collections import deque
from math import fsum, isfinite
from typing import Any, Final, Literal

from streams.detectors.rarity import Scalars, Shapes

Aspect = Literal["value", "step", "level", "activity", "shape"]
"""What of a reading is new."""

THRESHOLD: Final = 0.3
"""The score from which on a reading is an anomaly, unless it is set otherwise."""
DECADES: Final = 10.0
"""The rarity, in powers of ten, from which on the score is 1."""

_STRIDES: Final = 16
_BLOCKS: Final = 8
_LARGEST: Final = 1e150
_RESOLUTION: Final = 1e-12


class Novelty:
    """Rates readings between 0 (seen before) and 1, and tells which are anomalies.

    A score of 0.3 means that, by the tail of its past distances, an aspect lies as far from all before it
    once in 10^3 times, 0.4 once in 10^4, and so on. Steady noise alarms once or twice in 1,000 readings at
    the default `threshold`, and at 0.4 half as often: tails are heavier (`infra/docs/anomalies.md`).

    `window` is the length of what is told once, in readings; level and activity are taken over it, shape over
    four of it. The first 40 readings score 0; level and activity are rated after 300, shape after 1,750.

    Memory: `memory` readings with their steps and distances, 0.7 MB at the default, which is four weeks of a
    reading every five minutes. Older ones are forgotten: what comes back after longer is new again.

    >>> detector = Novelty()
    >>> for reading in range(300):
    ...     detector.update(20.0 + reading % 7)
    >>> detector.score, detector.anomaly_detected
    (0.0, False)
    >>> detector.update(60.0)
    >>> detector.score, detector.anomaly_detected, detector.aspect
    (1.0, True, 'value')
    """

    def __init__(self, threshold: float = THRESHOLD, window: int = 64, memory: int = 8192) -> None:
        """Begin anew.

        Raises:
            ValueError: the window is no multiple of 16 readings, or the memory shorter than 16 windows.
        """
        if window < _STRIDES or window % _STRIDES:
            raise ValueError(f"window is {window}; it has to be a multiple of {_STRIDES}")
        if memory < _STRIDES * window:
            raise ValueError(f"memory is {memory}; it has to be at least {_STRIDES} windows of {window}")
        self._threshold = threshold
        self._window = window
        self._stride = window // _STRIDES
        self._block = window // 2
        self._values = Scalars(memory)
        self._steps = Scalars(memory)
        # A mean over a window shares readings with the means until a window later: those are no neighbours.
        self._levels = Scalars(memory // self._stride, delay=_STRIDES)
        self._activities = Scalars(memory // self._stride, delay=_STRIDES)
        self._shapes = Shapes(memory // self._block, _BLOCKS)
        self._readings: deque[float] = deque(maxlen=window + 1)
        self._sizes: deque[float] = deque(maxlen=window)
        self._count = 0
        self._largest = 0.0
        self._peaks: deque[tuple[int, float]] = deque()
        self._score = 0.0
        self._aspect: Aspect | None = None

    @property
    def score(self) -> float:
        """How rare the newest reading is, in [0, 1]: a tenth of the power of ten."""
        return self._score

    @property
    def anomaly_detected(self) -> bool:
        """Whether the newest reading's score reaches the threshold."""
        return self._score >= self._threshold

    @property
    def aspect(self) -> Aspect | None:
        """What is new about the newest reading; None where its score is 0."""
        return self._aspect

    def update(self, value: float) -> None:
        """Take the next reading; numbers beyond ±1e150 count as that.

        Raises:
            ValueError: the reading is not finite; the detector is unchanged.
        """
        if not isfinite(value):
            raise ValueError(f"a reading has to be finite, and this one is {value}")
        value = min(max(float(value), -_LARGEST), _LARGEST)
        rare, aspect = 0.0, None
        for name, rarity in self._rarities(value):
            if rarity > rare:
                rare, aspect = rarity, name
        told = self._told(rare)
        self._score = 0.0 if told else min(1.0, rare / DECADES)
        self._aspect = None if told else aspect

    def _rarities(self, value: float) -> list[tuple[Aspect, float]]:
        """Take the reading into every aspect and return how rare each is."""
        readings, sizes = self._readings, self._sizes
        step = value - readings[-1] if readings else 0.0
        readings.append(value)
        sizes.append(abs(step))
        self._count += 1
        self._largest = max(self._largest, abs(value))
        resolution = _RESOLUTION * self._largest
        rarities: list[tuple[Aspect, float]] = [
            ("value", self._values.rarity(value, resolution)),
            ("step", self._steps.rarity(step, resolution)),
        ]
        if self._count % self._stride == 0 and len(sizes) == self._window:
            # fsum: equal readings in another order have to give the very same mean
            level = fsum(list(readings)[-self._window :]) / self._window
            rarities.append(("level", self._levels.rarity(level, resolution)))
            rarities.append(("activity", self._activities.rarity(fsum(sizes) / self._window, resolution)))
        if self._count % self._block == 0:
            block = fsum(list(readings)[-self._block :]) / self._block
            rarities.append(("shape", self._shapes.rarity(block, resolution)))
        return rarities

    def _told(self, rare: float) -> bool:
        """Tell whether as much was rare in the window before, and remember this reading's rarity."""
        peaks = self._peaks  # those that nothing as rare has followed, rarest first
        if peaks and peaks[0][0] < self._count - self._window:
            peaks.popleft()
        told = bool(peaks) and peaks[0][1] >= rare
        while peaks and peaks[-1][1] <= rare:
            peaks.pop()
        peaks.append((self._count, rare))
        return told

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "values": self._values.snapshot(),
            "steps": self._steps.snapshot(),
            "levels": self._levels.snapshot(),
            "activities": self._activities.snapshot(),
            "shapes": self._shapes.snapshot(),
            "readings": list(self._readings),
            "sizes": list(self._sizes),
            "count": self._count,
            "largest": self._largest,
            "peaks": [list(peak) for peak in self._peaks],
            "score": self._score,
            "aspect": self._aspect,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot of a detector with the same parameters."""
        for name in ("values", "steps", "levels", "activities", "shapes"):
            getattr(self, f"_{name}").restore(state[name])
        self._readings.clear()
        self._readings.extend(state["readings"])
        self._sizes.clear()
        self._sizes.extend(state["sizes"])
        self._count = state["count"]
        self._largest = state["largest"]
        self._peaks = deque((row, rare) for row, rare in state["peaks"])
        self._score = state["score"]
        self._aspect = state["aspect"]
