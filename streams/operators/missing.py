"""Fills or drops missing readings (null, `"n/a"`, NaN) from what the same source sent before.

A reading that an event does not name at all is not missing: sensors report at rates of their own.
"""

from math import inf, isfinite
from statistics import fmean, median
from typing import Final

from schemas.cleaning import Cleaning
from schemas.errors import Reason, Rejected
from streams.operators.history import Recent

FROM_HISTORY: Final = frozenset({"last", "mean", "median"})
"""The policies that need what a source sent before."""


class Missing:
    """One stream's policy: drop, a constant, the source's last reading, its recent mean or median."""

    def __init__(self, cleaning: Cleaning) -> None:
        self._policy = cleaning.missing
        self._constant = cleaning.constant

    def fill(
        self, numbers: dict[str, float | None], recent: dict[str, Recent]
    ) -> tuple[dict[str, float], list[str]]:
        """Return the readings without gaps, and the names of those that were imputed.

        Where there is nothing to impute from, the reading is left out.

        Raises:
            Rejected: nothing is left of the event.
        """
        filled: dict[str, float] = {}
        imputed: list[str] = []
        for name, number in numbers.items():
            if number is not None:
                filled[name] = number
                continue
            guess = self._guess(recent.get(name))
            if guess is not None:
                filled[name] = guess
                imputed.append(name)
        if not filled:
            raise Rejected(
                Reason.MISSING_VALUE, "no reading has a value, and none can be imputed", "data.values"
            )
        return filled, imputed

    def _guess(self, recent: Recent | None) -> float | None:
        if self._policy == "constant":
            return self._constant
        if self._policy == "drop" or recent is None or not recent.readings:
            return None
        if self._policy == "last":
            return recent.last
        try:
            guess = fmean(recent.readings) if self._policy == "mean" else median(recent.readings)
        except OverflowError:
            guess = inf
        return guess if isfinite(guess) else recent.last  # a sum of readings near the largest float
