"""Alerts for the tests of the channels."""

from datetime import UTC, datetime
from typing import Any

from schemas.drift import DriftAlert, Response, Severity, Signal

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def alert(id: str = "a1", **changed: Any) -> DriftAlert:
    """Return an alert of the error signal of stream `requests`."""
    fields: dict[str, Any] = {
        "stream": "requests",
        "model": "requests",
        "version": 1,
        "signal": Signal.ERROR,
        "detector": "ensemble",
        "statistic": 0.4,
        "threshold": 0.1,
        "since": NOW,
        "window_from": NOW,
        "window_to": NOW,
        "observations": 100,
        "severity": Severity.CRITICAL,
        "response": Response.INCREMENT,
        "summary": "the error rate rose",
        "runbook": "infra/runbooks/drift-error.md",
        "raised_at": NOW,
    }
    return DriftAlert(id=id, **{**fields, **changed})
