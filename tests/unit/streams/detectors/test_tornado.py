"""The ensemble on recorded streams with known drifts: a change every 20,000 rows, 10 % noise."""

import os
from math import log
from pathlib import Path

import pytest

from streams.detectors.ensemble import Ensemble

DATA = Path(os.environ.get("HEADRACE_DATA", Path(__file__).parents[5] / "shared" / "data")) / "tornado"
DRIFTS = (20_000, 40_000, 60_000, 80_000)


class Bayes:
    """Gaussian naive Bayes that learns row by row: the judged model, as simple as can be."""

    def __init__(self, features: int) -> None:
        self._n = [0, 0]
        self._sums = [[(0.0, 0.0)] * features, [(0.0, 0.0)] * features]

    def predict(self, row: list[float]) -> int:
        return int(self._likelihood(row, 1) > self._likelihood(row, 0))

    def _likelihood(self, row: list[float], truth: int) -> float:
        n = max(self._n[truth], 1)
        found = log(self._n[truth] + 1.0)
        for value, (total, squares) in zip(row, self._sums[truth], strict=True):
            mean = total / n
            variance = squares / n - mean * mean + 1e-6
            found -= 0.5 * (log(variance) + (value - mean) ** 2 / variance)
        return found

    def learn(self, row: list[float], truth: int) -> None:
        self._n[truth] += 1
        sums = zip(row, self._sums[truth], strict=True)
        self._sums[truth] = [(total + v, squares + v * v) for v, (total, squares) in sums]


def load(name: str) -> tuple[list[list[float]], list[int]]:
    """Return the rows and the classes of a recorded stream."""
    values = {"True": 1.0, "False": 0.0}
    rows, truths = [], []
    for line in (DATA / f"{name}_w_50_n_0.1_101.arff").read_text().splitlines():
        if line and not line.startswith("@"):
            *row, truth = line.split(",")
            rows.append([values[v] if v in values else float(v) for v in row])
            truths.append(int(truth in ("p", "positive")))
    return rows, truths


@pytest.mark.parametrize("name", ["sine1", "mixed"])
def test_all_true_drifts_and_no_others(name: str) -> None:
    """All four drifts are found, within 45 rows on average, with at most one false alarm."""
    rows, truths = load(name)
    model, detector = Bayes(len(rows[0])), Ensemble()
    delays, false = {}, 0
    for position, (row, truth) in enumerate(zip(rows, truths, strict=True)):
        detector.update(model.predict(row) != truth)
        if detector.drift_detected:
            model = Bayes(len(rows[0]))
            drift = max((d for d in DRIFTS if d <= position < d + 1000), default=None)
            if drift is None or drift in delays:
                false += 1
            else:
                delays[drift] = position - drift
        model.learn(row, truth)
    assert set(delays) == set(DRIFTS)
    assert false <= 1
    assert sum(delays.values()) / 4 <= 45
