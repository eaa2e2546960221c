"""Which findings become alerts: consumes findings of one stream, decides what is said, grouped or escalated.

Alerts of one cause are one alert: within the cooldown a further signal is counted with the first, unless it
asks for more (an error drift that wants the model taught is never hidden behind a notice that inputs moved).
"""

from typing import Any, Final

import msgspec

from schemas.drift import DriftAlert, Response, Signal

_RANK: Final = {Response.ALERT: 0, Response.INCREMENT: 1, Response.RETRAIN: 2}


class Standing(msgspec.Struct):
    """A drift that has not gone yet. `said` tells that its alert was written, so its recovery is too."""

    id: str
    version: int
    at: float
    statistic: float
    threshold: float
    said: bool


class Verdict(msgspec.Struct, frozen=True):
    """What to do with a finding; `cause` is the id of the first alert of the same cause, if any."""

    say: bool
    cause: str = ""


class Policy:
    """Cooldown, grouping and escalation of one stream, by event time. Memory: four standing drifts."""

    def __init__(self, cooldown_s: float) -> None:
        self._cooldown_s = cooldown_s
        self._cause = ""
        self._cause_at = float("-inf")
        self._cause_version = 0
        self._asked = Response.ALERT
        self.standing: dict[Signal, Standing] = {}
        self.grouped = 0

    def take(self, cooldown_s: float) -> None:
        """Go on with another cooldown."""
        self._cooldown_s = cooldown_s

    def judge(self, alert: DriftAlert, at: float) -> Verdict:
        """Decide on an alert that could be raised at event time `at`, and remember it as standing."""
        known = self.standing.get(alert.signal)
        if known is not None and known.id == alert.id:
            return Verdict(say=False, cause=known.id)
        # A new version that drifts is a new cause: nobody has acted on it yet.
        within = at - self._cause_at < self._cooldown_s and alert.version == self._cause_version
        say = not within or _RANK[alert.response] > _RANK[self._asked]
        verdict = Verdict(say, self._cause if within else "")
        if not within:
            self._begin(alert, at)
        elif say:
            self._cause_at, self._asked = at, alert.response
        else:
            self.grouped += 1
        said = say or (known is not None and known.said)
        standing_id = alert.id if say or known is None else known.id
        self.standing[alert.signal] = Standing(
            standing_id, alert.version, at, alert.statistic, alert.threshold, said
        )
        return verdict

    def seen(self, alert: DriftAlert, at: float) -> None:
        """Learn of an alert that was written before this watch remembers."""
        if alert.recovered:
            self.standing.pop(alert.signal, None)
            return
        self._begin(alert, at)
        self.standing[alert.signal] = Standing(
            alert.id, alert.version, at, alert.statistic, alert.threshold, said=True
        )

    def _begin(self, alert: DriftAlert, at: float) -> None:
        self._cause, self._cause_at = alert.id, at
        self._cause_version, self._asked = alert.version, alert.response

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "cause": [self._cause, None if self._cause == "" else self._cause_at],
            "asked": [self._cause_version, self._asked.value],
            "standing": {s.value: msgspec.to_builtins(standing) for s, standing in self.standing.items()},
            "grouped": self.grouped,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._cause, at = state["cause"]
        self._cause_version, asked = state["asked"]
        self._cause_at = float("-inf") if at is None else at
        self._asked = Response(asked)
        self.standing = {Signal(s): msgspec.convert(v, Standing) for s, v in state["standing"].items()}
        self.grouped = state["grouped"]
