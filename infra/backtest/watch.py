"""Watches the errors: consumes error bits in the order in which labels come, produces alarms."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

_REMEMBERED: Final = 3000


@dataclass(frozen=True, slots=True)
class Alert:
    """An alarm at a row. `kind` is the signal that drifted: error, input or prediction.

    `evidence` is in the form of `DriftAlert.evidence`; `began` is the row since which it drifts, if known.
    """

    row: int
    kind: str
    detector: str
    message: str = ""
    evidence: dict[str, Any] = field(default_factory=dict)
    began: int | None = None


class ErrorBits:
    """One of the live system's detectors over error bits, by itself."""

    def __init__(self, detector: str, delta: float = 0.001) -> None:
        from streams.drift.error import DETECTORS

        self._name = detector
        self._detector = DETECTORS[self._name](delta)
        self._bits: deque[tuple[int, bool]] = deque(maxlen=_REMEMBERED)

    def update(self, row: int, *, wrong: bool) -> Alert | None:
        """Take the next error bit, known when `row` was the newest; returns the alarm that it completes."""
        self._bits.append((row, wrong))
        self._detector.update(wrong)
        if not self._detector.drift_detected:
            return None
        alert = self._worded(row)
        self._bits.clear()
        return alert

    def _worded(self, row: int) -> Alert:
        """Say from what to what the error rate rose, and since when: the likeliest point of change."""
        from streams.drift.error import change_point

        bits = [wrong for _, wrong in self._bits]
        cut = change_point(bits)
        if not cut:
            now = sum(bits) / len(bits)
            rate = {"error_rate": {"after": now}}
            return Alert(row, "error", self._name, f"the error rate is {now:.1%}", rate)
        before, after = sum(bits[:cut]) / cut, sum(bits[cut:]) / (len(bits) - cut)
        began = self._bits[cut][0]
        says = f"the error rate rose from {before:.1%} to {after:.1%}, since about row {began:,}"
        rate = {"error_rate": {"before": before, "after": after}}
        return Alert(row, "error", self._name, says, rate, began)
