"""Watches the errors: consumes error bits in the order in which labels come, produces alarms."""

from dataclasses import dataclass

from infra.backtest.plan import DetectorName


@dataclass(frozen=True, slots=True)
class Alert:
    """An alarm at a row. `kind` is the signal that drifted: error, input or prediction."""

    row: int
    kind: str
    detector: str
    message: str = ""


class ErrorBits:
    """One of the live system's detectors over error bits, by itself."""

    def __init__(self, detector: DetectorName, delta: float = 0.001) -> None:
        from streams.drift.error import DETECTORS

        self._name = detector.value
        self._detector = DETECTORS[self._name](delta)
        self._seen = 0
        self._wrong = 0

    def update(self, row: int, *, wrong: bool) -> Alert | None:
        """Take the next error bit, known when `row` was the newest; returns the alarm that it completes."""
        self._seen += 1
        self._wrong += wrong
        self._detector.update(wrong)
        if not self._detector.drift_detected:
            return None
        rate = self._wrong / self._seen
        self._seen = self._wrong = 0
        return Alert(row, "error", self._name, f"the error rate since the alarm before was {rate:.1%}")
