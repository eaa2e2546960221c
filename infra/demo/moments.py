"""The loop's milestones: when the drift began, was noticed, was learnt and was answered by the new model."""

from dataclasses import dataclass


@dataclass
class Moments:
    """Seconds since 1970; None while not reached.

    `alert` is when the drift watch raised the alert, `release` when the trainer released the new version,
    `swap` when serving began to answer with it, each as that worker stamped its record.
    """

    began: float | None = None
    drift: float | None = None
    alert: float | None = None
    release: float | None = None
    swap: float | None = None
    ended: float | None = None

    def seconds(self) -> dict[str, float | None]:
        """Return the three spans of the loop, None where an end is missing."""
        return {
            "drift_to_alert": _span(self.drift, self.alert),
            "alert_to_release": _span(self.alert, self.release),
            "release_to_swap": _span(self.release, self.swap),
        }


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(end - start, 2)
