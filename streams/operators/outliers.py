"""Finds readings far from what their source sent lately; consumes and clips one event's readings.

Three methods, one scale: a reading is an outlier if it lies further than `outlier_sigmas` standard deviations
of a normal distribution from where the window lies.

- `hampel`: |x − median| > k · 1.4826 · MAD (Hampel, "The influence curve and its role in robust estimation",
  1974). Up to half of the window may be wrong.
- `iqr`: outside [Q1 − c · IQR, Q3 + c · IQR] (Tukey, "Exploratory Data Analysis", 1977) with
  c = (k − 0.6745) / 1.349, so that k = 2.698 is Tukey's own c = 1.5. For skewed readings.
- `z`: |x − mean| > k · standard deviation. For clean, normal readings; one outlier widens it.

Where the robust scale is 0 because half of the window is one value, the mean absolute deviation × 1.2533
stands in for it; a window without any spread judges nothing. Limits are renewed every `RENEWAL` readings of
a name, which costs a reading a thirty-second of two sorts. Outliers enter the window too: after a real change
of level the median follows within half a window.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, sqrt
from statistics import fmean
from typing import Any, Final

from schemas.cleaning import Cleaning
from schemas.errors import Reason, Rejected
from streams.operators.history import MAX_NAMES, Recent
from streams.operators.missing import FROM_HISTORY

MIN_READINGS: Final = 16
RENEWAL: Final = 32
_MAD_TO_SIGMA: Final = 1.4826
_MEAN_DEVIATION_TO_SIGMA: Final = 1.2533
_QUARTILE_SIGMAS: Final = 0.6745

Limits = tuple[float, float]
NO_LIMITS: Final = (-sys.float_info.max, sys.float_info.max)
"""Between these lies every reading but the infinities and NaN."""


def hampel(readings: Sequence[float], sigmas: float) -> Limits:
    """Return the lowest and highest reading that is no outlier, given the window."""
    ordered = sorted(readings)
    middle = _median(ordered)
    deviations = sorted(map(abs, map(middle.__sub__, ordered)))
    sigma = _MAD_TO_SIGMA * _median(deviations) or _MEAN_DEVIATION_TO_SIGMA * fmean(deviations)
    return _between(middle - sigmas * sigma, middle + sigmas * sigma)


def iqr(readings: Sequence[float], sigmas: float) -> Limits:
    """Return Tukey's fences; the quartiles are medians of the halves."""
    ordered = sorted(readings)
    half = len(ordered) // 2
    first, third = _median(ordered[:half]), _median(ordered[-half:])
    fence = max(0.0, sigmas - _QUARTILE_SIGMAS) / (2 * _QUARTILE_SIGMAS) * (third - first)
    if fence == 0.0:
        fence = sigmas * _MEAN_DEVIATION_TO_SIGMA * fmean(abs(reading - first) for reading in ordered)
    return _between(first - fence, third + fence)


def z(readings: Sequence[float], sigmas: float) -> Limits:
    """Return the mean ± so many standard deviations."""
    middle = fmean(readings)
    spread = sigmas * sqrt(fmean((reading - middle) ** 2 for reading in readings))
    return _between(middle - spread, middle + spread)


METHODS: Final[dict[str, Callable[[Sequence[float], float], Limits]]] = {"hampel": hampel, "iqr": iqr, "z": z}


def _median(ordered: Sequence[float]) -> float:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _between(low: float, high: float) -> Limits:
    """Return the limits, or none where the window has no spread or its sums overflow."""
    return (low, high) if low < high and isfinite(low) and isfinite(high) else NO_LIMITS


class Outliers:
    """One stream's policy: flag, clip, reject or off."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._policy = cleaning.outliers
        self._sigmas = cleaning.outlier_sigmas
        self._limits = METHODS[cleaning.outlier_method]
        self.judges = cleaning.outliers != "off"
        self.remembers = self.judges or cleaning.missing in FROM_HISTORY
        self.hampel_sigmas = cleaning.outlier_sigmas if cleaning.outlier_method == "hampel" else None

    def unremarkable(self, values: Mapping[str, Any], recent: dict[str, Recent]) -> bool:
        """Remember the readings if each is a float of a known name within its limits; else do nothing.

        So are nearly all events, and for them this is all that `judge`, and what comes before it, would do.
        """
        known = []
        for name, value in values.items():
            past = recent.get(name)
            if past is None or value.__class__ is not float or not past.low <= value <= past.high:
                return False
            known.append(past)
        for past, value in zip(known, values.values(), strict=True):
            self._remember(past, value)
        return bool(values)

    def judge(self, values: dict[str, float], imputed: Sequence[str], recent: dict[str, Recent]) -> list[str]:
        """Remember the readings, clip outliers in place if that is the policy, and return their names.

        Imputed readings are neither judged nor remembered; nothing is where no policy asks for the past.

        Raises:
            Rejected: an outlier, where the policy is to reject; the readings are remembered all the same.
        """
        found: list[str] = []
        if not self.remembers:
            return found
        for name, value in values.items():
            if imputed and name in imputed:
                continue
            past = recent.get(name)
            if past is None:
                if len(recent) >= MAX_NAMES:
                    continue
                past = recent[name] = Recent()
            if not past.low <= value <= past.high:
                found.append(name)
                if self._policy == "clip":
                    values[name] = min(max(value, past.low), past.high)
            self._remember(past, value)
        if found and self._policy == "reject":
            name = found[0]
            message = f"{values[name]:g} is further than {self._sigmas:g} deviations from recent readings"
            raise Rejected(Reason.OUTLIER, message, f"data.values.{name}")
        return found

    def _remember(self, past: Recent, value: float) -> None:
        count = past.add(value)
        if self.judges and (not count % RENEWAL or count == MIN_READINGS):
            past.low, past.high = self.renewed(past.readings)

    def renewed(self, readings: Sequence[float]) -> Limits:
        """Return the limits that follow from a window of readings."""
        try:
            return self._limits(readings, self._sigmas)
        except OverflowError:  # squares or sums of readings near the largest float: nothing can be said
            return NO_LIMITS
