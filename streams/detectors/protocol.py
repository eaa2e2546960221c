"""What every detector of a rising error rate looks like: consumes a bit per label, says when."""

from typing import Any, Protocol


class ErrorDetector(Protocol):
    """Watches a stream of errors for an increase of their rate.

    After a detection the next update starts anew: what was is the old concept's. A falling error rate is
    no drift. State is bounded and goes through JSON and back without changing what is detected.
    """

    @property
    def drift_detected(self) -> bool:
        """Whether the latest update completed the evidence for an increase."""
        ...

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        """Take the next labelled prediction; `error` tells that it was wrong."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot of a detector with the same parameters."""
        ...
