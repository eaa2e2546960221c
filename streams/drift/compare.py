"""A reference and how windows differ from it: consumes rows of readings, says which features moved and how.

Each feature is tested alone by the configured detectors, and all of them together by the maximum mean
discrepancy. All share one chance of a false finding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from schemas.config import ShiftDrift
from streams.detectors.chi_squared import ChiSquared
from streams.detectors.jensen_shannon import JensenShannon
from streams.detectors.ks import KolmogorovSmirnov
from streams.detectors.mmd_window import MmdWindow
from streams.detectors.psi import Psi
from streams.detectors.reference import Reference, Window
from streams.detectors.text import embedded
from streams.detectors.wasserstein import Wasserstein
from streams.detectors.window_test import ALPHA, BLOCKS, WindowTest
from streams.drift.rows import Event, Row, matrix
from streams.drift.terms import TermShares, TermShift

Floats = npt.NDArray[np.float64]
TESTS: Final[tuple[type[WindowTest], ...]] = (
    Psi, KolmogorovSmirnov, Wasserstein, ChiSquared, JensenShannon,
)  # fmt: skip
JOINT: Final = -1
"""Stands for all features together where a feature's number is asked for."""
_MAX_EXAMPLES: Final = 5


class Features(NamedTuple):
    """What is read of each event: names, number of codes of each that is a category (0: a number)."""

    names: Sequence[str]
    categories: Sequence[int] = ()
    missing: bool = True
    """Whether a reading that is missing counts, as a bin of its own."""
    joint: bool = False
    """Whether all features are also compared together."""
    text: bool = False
    """Whether it is the text's terms that are compared together."""


@dataclass(frozen=True)
class Tested:
    """What one test said of one feature."""

    name: str
    statistic: float
    threshold: float

    @property
    def over(self) -> float:
        """Statistic as a share of its threshold."""
        return self.statistic / self.threshold


@dataclass(frozen=True)
class Moved:
    """One feature that moved: which test found it, what all of them said, and how its values did."""

    name: str
    found_by: Tested
    tests: list[Tested]
    before: float
    after: float
    bins: list[str]
    before_shares: list[float]
    after_shares: list[float]


class Comparison:
    """The latest window against one reference. Memory: the sketches, and terms of a text reference."""

    def __init__(self, features: Features, rows: Sequence[Row], config: ShiftDrift) -> None:
        table = matrix(rows, len(features.names))
        reference = Reference(features.names, table, categories=features.categories, missing=features.missing)
        joint = features.joint
        blocks = [Window(reference, block) for block in np.array_split(table, BLOCKS) if len(block)]
        asked = max(1, len(features.names)) * len(config.detectors) + joint
        self._reference = reference
        self._deciding = config.detectors
        self._tests = [
            test(
                reference,
                blocks,
                threshold=config.psi if test is Psi else None,
                alpha=ALPHA / asked,
            )
            for test in TESTS
        ]
        self._terms = TermShares(rows)
        self._text = features.text
        vectors = self._vectors(rows, table)
        self._joint = MmdWindow(vectors, alpha=ALPHA / asked) if joint and vectors.size else None
        self._window = Window(reference, table[:0])
        self._rows: Sequence[Row] = ()

    def take(self, config: ShiftDrift) -> None:
        """Go on with another PSI that matters, from the next window on."""
        for test in self._tests:
            if isinstance(test, Psi):
                test.matter_from(config.psi)

    @property
    def names(self) -> tuple[str, ...]:
        """The features."""
        return self._reference.names

    @property
    def joint(self) -> MmdWindow | None:
        """The test of all features together, where it is asked for."""
        return self._joint

    def update(self, rows: Sequence[Row]) -> None:
        """Take the next window."""
        table = matrix(rows, len(self.names))
        self._rows, self._window = rows, Window(self._reference, table)
        for test in self._tests:
            test.update(self._window)
        if self._joint is not None:
            self._joint.update(self._vectors(rows, table))

    def _vectors(self, rows: Sequence[Row], table: Floats) -> Floats:
        """Return the vectors that are compared together: of a text its embedded terms, else the readings."""
        return np.stack([embedded(row.terms) for row in rows]) if self._text else table

    @property
    def moved(self) -> list[int]:
        """The features that have moved, furthest over their threshold first; `JOINT` for all together."""
        over = self._over()
        found = [int(f) for f in np.argsort(-over) if over[f] >= 1.0]
        return [*found, JOINT] if self._joint is not None and self._joint.drift_detected else found

    def ranked(self, most: int) -> list[int]:
        """Return the features that lie furthest from the reference, moved or not."""
        return [int(f) for f in np.argsort(-self._over())[:most]]

    def _over(self) -> Floats:
        """Return how far each feature is over its threshold, by the test that sees most of it, `(F,)`."""
        found = [test.statistics / test.thresholds for test in self._tests if test.name in self._deciding]
        return np.max(found, axis=0) if found and self.names else np.zeros(len(self.names))

    def nearest(self) -> tuple[str, float, float]:
        """Return name, statistic and threshold of what is nearest to its threshold."""
        near = [Tested("", 0.0, self._tests[0].matters)]
        near += [self._found_by(f, self.names[f]) for f in self.ranked(1)]
        if self._joint is not None and np.isfinite(self._joint.threshold):
            near.append(Tested("all features together", self._joint.statistic, self._joint.threshold))
        one = max(near, key=lambda tested: tested.over)
        return one.name, one.statistic, one.threshold

    def _found_by(self, f: int, name: str = "") -> Tested:
        said = [Tested(name or t.name, float(t.statistics[f]), float(t.thresholds[f]))
                for t in self._tests if t.name in self._deciding]  # fmt: skip
        return max(said, key=lambda tested: tested.over)

    def told(self, f: int) -> Moved:
        """Return how a feature differs in the latest window."""
        reference, window, values = self._reference.counts[f], self._window.counts[f], self._window.values(f)
        edges = self._reference.edges_of(f)
        used = [*range(edges.size), reference.size - 2, reference.size - 1]
        return Moved(
            name=self.names[f],
            found_by=self._found_by(f),
            tests=[Tested(t.name, float(t.statistics[f]), float(t.thresholds[f])) for t in self._tests],
            before=float(np.mean(self._reference.quantiles[f])),
            after=float(values.mean()) if values.size else float("nan"),
            bins=[f"≤ {edge:.4g}" for edge in edges] + [f"> {edges[-1]:.4g}", "missing"],
            before_shares=(reference[used] / max(1.0, reference.sum())).round(4).tolist(),
            after_shares=(window[used] / max(1.0, window.sum())).round(4).tolist(),
        )

    def terms(self) -> list[TermShift]:
        """Return the terms of a text whose shares changed most in the latest window."""
        return self._terms.ranked(self._rows)

    def examples(self, f: int) -> list[Event]:
        """Return events of the latest window from the bin of a feature that grew most."""
        reference, window = self._reference.counts[f], self._window.counts[f]
        grown = int(np.argmax(window / max(1.0, window.sum()) - reference / max(1.0, reference.sum())))
        values = matrix(self._rows, len(self.names))[:, f]
        edges = self._reference.edges[f]
        at = np.where(np.isnan(values), edges.size + 1, np.searchsorted(edges, values, side="left"))
        at[np.isinf(edges[np.minimum(at, edges.size - 1)]) & (at < edges.size)] = edges.size
        return [self._rows[number].event for number in np.flatnonzero(at == grown)[:_MAX_EXAMPLES]]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values; the latest window's rows are not in it."""
        return {
            "reference": self._reference.snapshot(),
            "deciding": list(self._deciding),
            "tests": [test.snapshot() for test in self._tests],
            "alpha": self._tests[0].alpha,
            "least": self._tests[0].least,
            "joint": self._joint.snapshot() if self._joint else None,
            "terms": self._terms.snapshot(),
            "text": self._text,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot, whatever this comparison was made for."""
        self._reference = Reference.restored(state["reference"])
        self._deciding = tuple(state["deciding"])
        self._tests = []
        for test, kept in zip(TESTS, state["tests"], strict=True):
            least = state["least"] if test is Psi else None
            one = test(self._reference, (), threshold=least, alpha=state["alpha"])
            one.restore(kept)
            self._tests.append(one)
        self._joint = MmdWindow.restored(state["joint"]) if state["joint"] else None
        self._terms = TermShares.restored(state["terms"])
        self._text = state["text"]
        self._window = Window(self._reference, np.empty((0, len(self.names))))
        self._rows = ()

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Make a comparison from a snapshot, without the reference's rows."""
        made = cls.__new__(cls)
        made.restore(state)
        return made
