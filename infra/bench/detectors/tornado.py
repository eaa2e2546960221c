"""The detector benchmark's learner: consumes rows of the Tornado families, produces what its errors showed.

SINE1 and MIXED as in Tornado (A. Pesaranghader, H. L. Viktor, "Fast Hoeffding drift detection method for
evolving data streams", ECML PKDD 2016): 100,000 rows, the two classes change places every 20,000, over some
50 rows; 10 % of the classes are noise. The recorded files, and generated ones of other seeds.
"""

from collections.abc import Iterator
from math import exp, pi, sin
from pathlib import Path
from typing import Any, Final

import numpy as np

from infra.bench.detectors.trial import Figures
from streams.detectors.protocol import ErrorDetector

Row = tuple[dict[int, float], bool]

NAMES: Final = ("sine1", "mixed")
_ROWS: Final = 100_000
_EVERY: Final = 20_000
_WIDTH: Final = 50
_HORIZON: Final = 2_000


def recorded(folder: Path, name: str) -> list[Row]:
    """Return the rows of a recorded stream."""
    values = {"True": 1.0, "False": 0.0}
    rows = []
    for line in (folder / f"{name}_w_50_n_0.1_101.arff").read_text().splitlines():
        if line and not line.startswith("@"):
            *row, truth = line.split(",")
            rows.append(
                ({i: values[v] if v in values else float(v) for i, v in enumerate(row)}, truth[0] == "p")
            )
    return rows


def generated(name: str, seed: int) -> Iterator[Row]:
    """Yield the rows of a stream like the recorded ones."""
    random = np.random.default_rng(seed)
    for number, (x, y, v, w, old, noise) in enumerate(random.random((_ROWS, 6)).tolist()):
        concept, since = divmod(number, _EVERY)
        if concept and old > 1.0 / (1.0 + exp(-4.0 * (since - _WIDTH / 2) / _WIDTH)):
            concept -= 1
        if name == "sine1":
            row, truth = {0: x, 1: y}, y <= sin(x)
        else:
            row = {0: float(v < 0.5), 1: float(w < 0.5), 2: x, 3: y}
            truth = (v < 0.5) + (w < 0.5) + (y < 0.5 + 0.3 * sin(3.0 * pi * x)) >= 2
        yield row, truth ^ (concept % 2 == 1) ^ (noise < 0.1)


def prequential(rows: Iterator[Row] | list[Row], detector: ErrorDetector) -> Figures:
    """Test, then train a Hoeffding tree that begins anew at each alarm; return what was found."""
    from river.tree import HoeffdingTreeClassifier

    tree: Any = HoeffdingTreeClassifier()
    errors = 0
    found: dict[int, int] = {}
    false = count = 0
    for number, (row, truth) in enumerate(rows):
        count += 1
        error = tree.predict_one(row) != truth
        errors += error
        detector.update(error)
        if detector.drift_detected:
            tree = HoeffdingTreeClassifier()
            drift, delay = divmod(number, _EVERY)
            if drift and delay < _HORIZON and drift not in found:
                found[drift] = delay
            else:
                false += 1
        tree.learn_one(row, truth)
    return Figures(
        count, false, list(found.values()), (count - 1) // _EVERY - len(found), errors / max(1, count)
    )
