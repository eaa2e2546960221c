"""What the drift watch writes on `alerts.drift`: what moved, how far, how we know, and what follows."""

from enum import StrEnum
from typing import Any

from schemas.record import Contract, Moment


class Signal(StrEnum):
    """Where a drift was seen."""

    INPUT = "input"
    PREDICTION = "prediction"
    ERROR = "error"
    QUALITY = "quality"
    ESTIMATE = "estimate"
    SILENCE = "silence"
    NOVELTY = "novelty"
    ROLLBACK = "rollback"


class Severity(StrEnum):
    """How loudly on-call is told."""

    WARNING = "warning"
    CRITICAL = "critical"


class Response(StrEnum):
    """What the policy asks for when this alert fires."""

    ALERT = "alert"
    INCREMENT = "increment"
    RETRAIN = "retrain"


def recovery_id(alert: str) -> str:
    """Return the id of the notice that an alert is over."""
    return f"{alert}-recovered"


class DriftAlert(Contract, frozen=True, kw_only=True):
    """One drift, raised once. `since` is the event time from which the watched data are taken as drifted.

    `evidence` holds detector-specific JSON: feature ranking, before/after histograms, example event ids.
    """

    id: str
    stream: str
    model: str
    version: int
    signal: Signal
    detector: str
    statistic: float
    threshold: float
    since: Moment
    window_from: Moment
    window_to: Moment
    observations: int
    severity: Severity
    response: Response
    summary: str
    evidence: dict[str, Any] = {}
    runbook: str = ""
    raised_at: Moment
    recovered: bool = False
