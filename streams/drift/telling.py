"""What is said of one stream: consumes findings of its watches, produces alerts and their ends."""

from datetime import datetime
from typing import Any

from schemas.drift import DriftAlert, Signal
from streams.drift.policy import Policy, Standing
from streams.drift.shift import ShiftWatch
from streams.drift.wording import Subject, recovery


class Telling:
    """Who is spoken of, how far event time is, and which drifts stand."""

    def __init__(self, stream: str, model: str, cooldown_s: float, hysteresis: int) -> None:
        self.stream = stream
        self.model = model
        self.version = 0
        self.now = float("-inf")  # event time
        self.policy = Policy(cooldown_s)
        self._hysteresis = hysteresis

    def take(self, cooldown_s: float, hysteresis: int) -> None:
        """Go on by another configuration; what stands stands."""
        self.policy.take(cooldown_s)
        self._hysteresis = hysteresis

    @property
    def subject(self) -> Subject:
        """Whose alerts these are."""
        return Subject(self.stream, self.model, self.version)

    def reached(self, time: float) -> None:
        """Note how far event time has come."""
        self.now = max(self.now, time)

    def standing(self, signal: Signal) -> Standing | None:
        """Return the drift of a signal that has not gone yet."""
        return self.policy.standing.get(signal)

    def raised(self, alert: DriftAlert) -> list[DriftAlert]:
        """Return an alert that could be raised if it is to be said, with its cause."""
        verdict = self.policy.judge(alert, self.now)
        if verdict.say and verdict.cause:
            alert.evidence["cause"] = verdict.cause
        return [alert] if verdict.say else []

    def over(
        self, signal: Signal, why: str, statistic: float, threshold: float, now: datetime
    ) -> list[DriftAlert]:
        """Return the notice that a standing drift has gone, if its alert was said."""
        standing = self.policy.standing.pop(signal)
        if not standing.said:
            return []
        measured = {"statistic": statistic, "threshold": threshold}
        at = self.now if self.now > float("-inf") else now.timestamp()  # no event came yet, only copies
        return [recovery(self.subject, signal, standing.id, why, at, now, **measured)]

    def calmed(self, signal: Signal, shift: ShiftWatch, now: datetime) -> list[DriftAlert]:
        """End a standing shift once enough windows were quiet, or a new version has its own reference."""
        standing = self.standing(signal)
        if standing is None or shift.comparison is None:
            return []
        _, statistic, threshold = shift.nearest()
        if standing.version != self.version and self.version:
            why = f"v{self.version} took over; what it sees now is its reference"
        elif shift.quiet >= self._hysteresis:
            why = "everything is back under its threshold"
        else:
            return []
        return self.over(signal, why, statistic, threshold, now)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        now = None if self.now == float("-inf") else self.now
        return {"version": self.version, "now": now, "policy": self.policy.snapshot()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.version = state["version"]
        self.now = float("-inf") if state["now"] is None else state["now"]
        self.policy.restore(state["policy"])
