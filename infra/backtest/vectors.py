"""Watches vectors: consumes the numbers of rows, produces alarms where their joint distribution changed.

For the study of inputs alone, by the sequential detector whose run time without a change is known beforehand.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from infra.backtest.row import History, Row
from infra.backtest.watch import Alert
from schemas.errors import Fatal

EXPECTED_RUN_TIME: Final = 10_000
"""Rows between two false alarms on average."""
_WINDOW: Final = 20
_REFERENCE: Final = 1000
_LEAST: Final = 4 * _WINDOW


class Vectors:
    """One sequential MMD over the numbers of rows; what an alarm ends is followed by a new reference.

    The reference are the first `reference` rows, 1,000 or a tenth of the history if none are named. What is
    missing is taken to be as in the newest row that had it.

    Raises:
        Fatal: no column has numbers, or the reference is too short.
    """

    def __init__(self, history: History, reference: int, seed: int) -> None:
        self._names = [name for name in history.features if _numeric(history, name)]
        if not self._names:
            raise Fatal("--model none --detector mmd watches numbers, and no column has any")
        self._wanted = reference or max(_LEAST, min(_REFERENCE, len(history.rows) // 10))
        if self._wanted < _LEAST:
            raise Fatal(f"--train-rows {reference}: a reference takes {_LEAST} rows at least")
        self._seed = seed
        self._newest = np.zeros(len(self._names))
        self._begin()

    def _begin(self) -> None:
        from streams.detectors.mmd import Mmd

        self._reference: list[npt.NDArray[np.float64]] = []
        self._detector: Mmd | None = None

    def update(self, row: Row) -> Alert | None:
        """Take the next row; returns the alarm that it completes."""
        from streams.detectors.mmd import Mmd

        self._newest = np.array(
            [_number(row.values.get(name), self._newest[at]) for at, name in enumerate(self._names)]
        )
        if self._detector is None:
            self._reference.append(self._newest)
            if len(self._reference) == self._wanted:
                self._detector = Mmd(
                    np.stack(self._reference),
                    expected_run_time=EXPECTED_RUN_TIME,
                    window=_WINDOW,
                    seed=self._seed,
                )
            return None
        self._detector.update(self._newest)
        if not self._detector.drift_detected:
            return None
        statistic, threshold = self._detector.statistic, self._detector.threshold
        self._begin()
        return Alert(
            row.number,
            "input",
            "mmd",
            f"the newest {_WINDOW} rows lie off the reference as a whole (squared MMD {statistic:.3g},"
            f" threshold {threshold:.3g})",
        )


def _numeric(history: History, name: str) -> bool:
    return any(isinstance(row.values.get(name), float) for row in history.rows[:_REFERENCE])


def _number(value: float | str | None, otherwise: float) -> float:
    return value if isinstance(value, float) else otherwise
