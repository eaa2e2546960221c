"""What changed where something changed: consumes a history and a row, produces the features that moved most.

The population stability index of the live system's input watch, between the rows before and those after.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from infra.backtest.row import History, Row, Value

Floats = NDArray[np.float64]

SPAN: Final = 2000
"""Rows that are compared on either side."""

MOST: Final = 6
MOVED: Final = 0.25
"""PSI from which a feature has moved as much as would be an alert by default."""

_FEW: Final = 8
"""Different values up to which numbers are drawn as categories."""


@dataclass(frozen=True)
class Moved:
    """One feature before and after a row; `words` names the codes of a category."""

    name: str
    psi: float
    before: Floats
    after: Floats
    words: tuple[str, ...] = ()

    @property
    def much(self) -> bool:
        """Whether it moved as much as would be an alert by default."""
        return self.psi >= MOVED


def moved(history: History, at: int, span: int = SPAN) -> list[Moved]:
    """Return the features that moved most between the `span` rows before a row and those from it on."""
    before, after = history.rows[max(0, at - span) : at], history.rows[at : at + span]
    if not before or not after:
        return []
    found = [_label(before, after)] if history.label else []
    found += [_feature(name, before, after) for name in history.features]
    if history.text:
        found += _text(before, after)
    return sorted(found, key=lambda feature: -feature.psi)[:MOST]


def _label(before: Sequence[Row], after: Sequence[Row]) -> Moved:
    return _compared(
        "the label",
        [row.label for row in before if row.label],
        [row.label for row in after if row.label],
    )


def _feature(name: str, before: Sequence[Row], after: Sequence[Row]) -> Moved:
    return _compared(
        name,
        [row.values[name] for row in before if name in row.values],
        [row.values[name] for row in after if name in row.values],
    )


def _text(before: Sequence[Row], after: Sequence[Row]) -> list[Moved]:
    """Compare what the input watch reads of texts; half of the rows before teach the vocabulary."""
    from streams.detectors.text import FEATURES, Vocabulary, features

    vocabulary = Vocabulary()
    half = len(before) // 2
    for row in before[:half]:
        vocabulary.learn(row.text)
    old = np.array([features(row.text, vocabulary) for row in before[half:]])
    new = np.array([features(row.text, vocabulary) for row in after])
    return [
        Moved(f"text: {name.replace('_', ' ')}", _psi(old[:, at], new[:, at], 0), old[:, at], new[:, at])
        for at, name in enumerate(FEATURES)
    ]


def _compared(name: str, before: Sequence[Value], after: Sequence[Value]) -> Moved:
    different = {*before, *after}
    if len(different) <= _FEW or any(isinstance(value, str) for value in different):
        words = tuple(sorted({_word(value) for value in different}))
        code = {word: float(number) for number, word in enumerate(words)}
        old, new = (np.array([code[_word(value)] for value in side]) for side in (before, after))
        return Moved(name, _psi(old, new, len(words)), old, new, words)
    old, new = np.array(before, float), np.array(after, float)
    return Moved(name, _psi(old, new, 0), old, new)


def _word(value: Value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _psi(before: Floats, after: Floats, categories: int) -> float:
    from streams.detectors.psi import Psi
    from streams.detectors.reference import Reference, Window

    if not before.size or not after.size:
        return 0.0
    detector = Psi(Reference(("",), before[:, None], categories=(categories,)), (), threshold=MOVED)
    detector.update(Window(detector.reference, after[:, None]))
    return float(detector.statistics[0])


def moments(history: History, alarms: Sequence[int], drifts: Sequence[int], most: int = 3) -> list[int]:
    """Return the rows worth a look: true drifts, else alarms, else where files begin, else the middle."""
    begins = [begin for _, begin in history.files if begin]
    candidates = list(drifts) or list(alarms) or begins or [len(history.rows) // 2]
    apart: list[int] = []
    for row in candidates:
        if 0 < row < len(history.rows) and all(abs(row - other) > SPAN // 4 for other in apart):
            apart.append(row)
    by_most = sorted(apart[:50], key=lambda row: -max((f.psi for f in moved(history, row)), default=0.0))
    return sorted(by_most[:most])
