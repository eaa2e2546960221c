"""Finds readings far from what their source sent lately, by the Hampel identifier.

A reading is an outlier if it lies further than `outlier_sigmas` robust deviations from the window's median:
|x − median| > k · 1.4826 · MAD (Hampel, "The influence curve and its role in robust estimation", 1974).
Where more than half of the window is one value, MAD is 0 and the mean absolute deviation × 1.2533 stands in
for it; a window without any spread judges nothing. Limits are renewed every `RENEWAL` readings of a name,
which costs a reading a sixteenth of two sorts. Outliers enter the window too: after a real change of level
the median follows within half a window.
"""

from collections.abc import Sequence
from math import inf
from statistics import fmean, median
from typing import Final

from schemas.config import Cleaning
from schemas.errors import Reason, Rejected
from streams.operators.history import MAX_NAMES, Recent

MIN_READINGS: Final = 16
RENEWAL: Final = 16
_MAD_TO_SIGMA: Final = 1.4826
_MEAN_DEVIATION_TO_SIGMA: Final = 1.2533


def limits(readings: Sequence[float], sigmas: float) -> tuple[float, float]:
    """Return the lowest and highest reading that is no outlier, given the window."""
    middle = median(readings)
    deviations = [abs(reading - middle) for reading in readings]
    sigma = _MAD_TO_SIGMA * median(deviations) or _MEAN_DEVIATION_TO_SIGMA * fmean(deviations)
    if not 0 < sigma < inf:
        return -inf, inf
    return middle - sigmas * sigma, middle + sigmas * sigma


class Outliers:
    """One stream's policy: flag, clip, reject or off."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._policy = cleaning.outliers
        self._sigmas = cleaning.outlier_sigmas

    def judge(self, values: dict[str, float], imputed: Sequence[str], recent: dict[str, Recent]) -> list[str]:
        """Remember the readings, clip outliers in place if that is the policy, and return their names.

        Imputed readings are neither judged nor remembered.

        Raises:
            Rejected: an outlier, where the policy is to reject; the readings are remembered all the same.
        """
        found: list[str] = []
        for name, value in values.items():
            if name in imputed:
                continue
            past = recent.get(name)
            if past is None:
                if len(recent) >= MAX_NAMES:
                    continue
                past = recent[name] = Recent()
            if not past.low <= value <= past.high and self._policy != "off":
                found.append(name)
                if self._policy == "clip":
                    values[name] = min(max(value, past.low), past.high)
            past.readings.append(value)
            past.due += 1
            if past.due >= RENEWAL:
                past.due = 0
                if len(past.readings) >= MIN_READINGS:
                    past.low, past.high = limits(past.readings, self._sigmas)
        if found and self._policy == "reject":
            name = found[0]
            message = (
                f"{values[name]:g} is further than {self._sigmas:g} robust deviations from recent readings"
            )
            raise Rejected(Reason.OUTLIER, message, f"data.values.{name}")
        return found
