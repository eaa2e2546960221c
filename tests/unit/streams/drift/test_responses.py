"""What an alert asks for depends on how severe it is, as its stream says."""

import pytest

from schemas.drift import Response, Severity
from streams.drift.watch import DriftWatch
from tests.unit.streams.drift.traffic import Traffic, config

_QUIET = {"enabled": False}


@pytest.mark.parametrize(
    ("wrong", "severity", "response", "says"),
    [
        (0.08, Severity.WARNING, Response.INCREMENT, "tune the model"),
        (0.4, Severity.CRITICAL, Response.RETRAIN, "retraining the model"),
    ],
)
def test_a_small_rise_and_a_large_one_are_answered_differently(
    wrong: float, severity: Severity, response: Response, says: str
) -> None:
    """Under ten points of accuracy are a warning, more is critical; the words say what follows."""
    answers = {"warning": "increment", "critical": "retrain"}
    settings = config(input=_QUIET, prediction=_QUIET, estimate=_QUIET, on_error=answers)
    traffic = Traffic(DriftWatch("requests", settings))
    traffic.feed(3000)
    alert = traffic.feed(3000, wrong=wrong)[0]
    assert (alert.severity, alert.response) == (severity, response)
    assert says in alert.summary
