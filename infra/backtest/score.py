"""Prequential scores: consumes answers with their truths in order, produces accuracy, F1 and kappa-temporal.

    κ_per = (p0 − p_per) / (1 − p_per)        p0: accuracy, p_per: that of always giving the last label again

A. Bifet et al., "Pitfalls in benchmarking data stream classification and how to avoid them", ECML PKDD 2013.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

WINDOWS: Final = 50
"""Into how many windows a history is cut, unless they would be shorter than `_LEAST`."""

_LEAST: Final = 100


class Score:
    """Counts of one sequence of answers. Memory: a count for each pair of truth and answer."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()
        self.count = 0
        self.right = 0

    def add(self, truth: str, answer: str) -> None:
        """Take an answer and its truth."""
        self._pairs[truth, answer] += 1
        self.count += 1
        self.right += truth == answer

    @property
    def accuracy(self) -> float | None:
        """Return the share of right answers, None before the first."""
        return self.right / self.count if self.count else None

    @property
    def f1_macro(self) -> float | None:
        """Return the mean F1 of the labels that were true at least once, None before the first."""
        truths, answers, right = Counter[str](), Counter[str](), Counter[str]()
        for (truth, answer), count in self._pairs.items():
            truths[truth] += count
            answers[answer] += count
            right[truth] += count if truth == answer else 0
        if not truths:
            return None
        return sum(2 * right[name] / (truths[name] + answers[name]) for name in truths) / len(truths)

    def by_class(self) -> dict[str, dict[str, float]]:
        """Return rows, precision, recall and F1 of each label."""
        answers: defaultdict[str, int] = defaultdict(int)
        truths: defaultdict[str, int] = defaultdict(int)
        for (truth, answer), count in self._pairs.items():
            truths[truth] += count
            answers[answer] += count
        found = {}
        for name in sorted(truths):
            right = self._pairs[name, name]
            found[name] = {
                "rows": truths[name],
                "precision": round(right / answers[name], 6) if answers[name] else 0.0,
                "recall": round(right / truths[name], 6),
                "f1": round(2 * right / (truths[name] + answers[name]), 6),
            }
        return found


def kappa(accuracy: float | None, baseline: float | None) -> float | None:
    """Return how much of what a baseline gets wrong an accuracy gets right; below 0 it is worse than that."""
    if accuracy is None or baseline is None:
        return None
    if baseline >= 1.0:
        return 0.0 if accuracy >= 1.0 else float("-inf")
    return (accuracy - baseline) / (1.0 - baseline)


class Track:
    """One contestant's score, as a whole and by windows of rows."""

    def __init__(self, window: int) -> None:
        self.whole = Score()
        self._window = window
        self._parts: dict[int, Score] = {}

    def add(self, number: int, truth: str, answer: str) -> None:
        """Take the answer to a row and its truth."""
        self.whole.add(truth, answer)
        part = self._parts.get(number // self._window)
        if part is None:
            part = self._parts[number // self._window] = Score()
        part.add(truth, answer)

    def windows(self) -> list[tuple[int, int, Score]]:
        """Return first row, row after the last, and score of each window."""
        return [
            (at * self._window, (at + 1) * self._window, part) for at, part in sorted(self._parts.items())
        ]


def window_of(rows: int) -> int:
    """Return how many rows a window has: a round number that gives about fifty windows."""
    wanted = max(_LEAST, rows // WINDOWS)
    step = int(10 ** (len(str(wanted)) - 1))
    return max(_LEAST, wanted // step * step)


def rounded(value: float | None) -> Any:
    """Return a figure with six places; JSON has no infinity."""
    return None if value is None or value in (float("inf"), float("-inf")) else round(value, 6)


def rows_of(track: Track, upto: int) -> Sequence[dict[str, Any]]:
    """Return accuracy by windows as the figures have it."""
    return [
        {"from": first, "to": min(end, upto), "accuracy": rounded(part.accuracy)}
        for first, end, part in track.windows()
    ]
