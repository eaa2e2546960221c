"""NAB's score: consumes anomaly scores of series with labelled windows, produces points for each threshold.

A. Lavin, S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly Benchmark",
ICMLA 2015. A row alarms if its anomaly score reaches the threshold.

- A window is worth its best alarm, the earlier the more (`sigmoid`); a window without alarm is a miss.
- Every alarm outside costs: all of the weight before the first window and far behind one, less just behind.
- Rows of the probationary period are not judged.
- One threshold serves all series, the one with the highest sum. The sum is then put between that of a
  detector that never alarms (0) and that of one which alarms once, at the first row of every window (100).
"""

from collections.abc import Sequence
from math import exp, floor
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from infra.bench.nab.corpus import Series, Window
from infra.bench.nab.profiles import Profile

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

OUTSIDE: Final = -1
PROBATION: Final = -2
NEVER: Final = 1.1
"""A threshold that no score reaches."""

_PROBATION_SHARE: Final = 0.15
_PROBATION_ROWS: Final = 5000


def probation(rows: int) -> int:
    """Return how many rows of a series are not judged: 15 % of them, of 5,000 at most.

    >>> probation(1000), probation(20_000)
    (150, 750)
    """
    return min(floor(_PROBATION_SHARE * rows), int(_PROBATION_SHARE * _PROBATION_ROWS))


def sigmoid(position: float) -> float:
    """Return what an alarm is worth by its place: -1 a window's first row, 0 its end, above 0 behind it.

    >>> round(sigmoid(-1.0), 5), round(sigmoid(-0.5), 5), sigmoid(0.0), sigmoid(3.5)
    (0.98661, 0.84828, 0.0, -1.0)
    """
    return -1.0 if position > 3.0 else 2.0 / (1.0 + exp(5.0 * position)) - 1.0


class Places(msgspec.Struct, frozen=True):
    """Where the rows of a series lie: `window` its number, `OUTSIDE` or `PROBATION`; `worth` of an alarm."""

    window: Ints
    worth: Floats
    windows: int


def places(series: Series) -> Places:
    """Return the places of a series' rows; `worth` is in [-1, 1], before the profile's weights."""
    rows = len(series.values)
    window = np.full(rows, OUTSIDE, np.int64)
    worth = np.full(rows, -1.0)
    for number, labelled in enumerate(series.windows):
        for row in range(labelled.first, labelled.last + 1):
            window[row] = number
            worth[row] = sigmoid((row - labelled.last - 1) / labelled.rows) / sigmoid(-1.0)
        _behind(worth, labelled)
    window[: probation(rows)] = PROBATION
    return Places(window, worth, len(series.windows))


def _behind(worth: Floats, window: Window) -> None:
    """Rate the rows behind a window; those of a later window are rated anew when their turn comes."""
    for row in range(window.last + 1, len(worth)):
        worth[row] = sigmoid((row - window.last) / max(window.rows - 1, 1))


class Sweep(msgspec.Struct, frozen=True):
    """The points of every threshold that makes a difference, from the highest down."""

    thresholds: Floats
    points: Floats

    @property
    def best(self) -> tuple[float, float]:
        """Return the threshold with the most points, of equals the highest, and its points."""
        at = int(np.argmax(self.points))
        return float(self.thresholds[at]), float(self.points[at])


def sweep(scored: Sequence[tuple[Places, Floats]], profile: Profile) -> Sweep:
    """Return the points of all thresholds over all series; rows of equal scores alarm together."""
    scores, gains, missed = [np.empty(0)], [np.empty(0)], 0
    for place, score in scored:
        outside = place.window == OUTSIDE
        scores.append(score[outside])
        gains.append(place.worth[outside] * profile.false_alarm)
        for number in range(place.windows):
            inside = np.flatnonzero(place.window == number)
            if not len(inside):
                continue  # all of it lies in the probationary period: nothing to find, nothing to miss
            missed += 1
            inside = inside[np.argsort(-score[inside], kind="stable")]
            best = np.maximum.accumulate(np.r_[-profile.miss, place.worth[inside] * profile.hit])
            scores.append(score[inside])
            gains.append(np.diff(best))
    return _cumulated(np.concatenate(scores), np.concatenate(gains), -profile.miss * missed)


def _cumulated(scores: Floats, gains: Floats, nothing: float) -> Sweep:
    order = np.argsort(-scores, kind="stable")
    scores, points = scores[order], nothing + np.cumsum(gains[order])
    ends = np.flatnonzero(np.r_[np.diff(scores) != 0.0, True]) if len(scores) else np.empty(0, np.int64)
    return Sweep(np.r_[NEVER, scores[ends]], np.r_[nothing, points[ends]])


class Outcome(msgspec.Struct, frozen=True):
    """What became of a series at a threshold: points, windows found, and alarms outside of any."""

    series: str
    windows: int
    found: int
    false_alarms: int
    points: float


def outcome(name: str, place: Places, score: Floats, profile: Profile, threshold: float) -> Outcome:
    """Judge one series at a threshold."""
    alarms = score >= threshold
    false = alarms & (place.window == OUTSIDE)
    points = float(place.worth[false].sum()) * profile.false_alarm
    judged, found = 0, 0
    for number in range(place.windows):
        inside = place.window == number
        if not inside.any():
            continue
        judged += 1
        hits = place.worth[inside & alarms]
        found += bool(len(hits))
        points += float(hits.max()) * profile.hit if len(hits) else -profile.miss
    return Outcome(name, judged, found, int(false.sum()), points)


def normalised(points: float, scored: Sequence[Places], profile: Profile) -> float:
    """Put points between those of never alarming, 0, and those of a perfect detector, 100.

    Windows of the probationary period cannot be missed, but a perfect detector has them (NAB's own rule).
    """
    judged = sum(len({*place.window.tolist()} - {OUTSIDE, PROBATION}) for place in scored)
    nothing = -profile.miss * judged
    perfect = profile.hit * sum(place.windows for place in scored)
    return 100.0 * (points - nothing) / (perfect - nothing) if perfect > nothing else 0.0
