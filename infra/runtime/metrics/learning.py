"""What the `drift` and `trainer` workers did: alerts raised, trainings and what became of them."""

from typing import Final

from prometheus_client import Counter, Histogram

ALERTS: Final = Counter(
    "headrace_drift_alerts_total", "Drift alerts written to alerts.drift", ["stream", "signal", "recovered"]
)
RUNS: Final = Counter(
    "headrace_trainer_runs_total", "Trainings by what became of them", ["stream", "outcome"]
)
RUN_SECONDS: Final = Histogram(
    "headrace_trainer_run_seconds",
    "Seconds from a training's start to its announcement",
    ["stream"],
    buckets=(5, 10, 20, 40, 60, 90, 120, 180, 300, 600, 1800, 3600),
)


def count_alert(stream: str, signal: str, *, recovered: bool) -> None:
    """Count an alert, or the word that it is over."""
    ALERTS.labels(stream, signal, "true" if recovered else "false").inc()


def count_run(stream: str, outcome: str) -> None:
    """Count a training that ended; `outcome` is `released` or `rejected`."""
    RUNS.labels(stream, outcome).inc()


def observe_run(stream: str, seconds: float) -> None:
    """Note how long a training took."""
    RUN_SECONDS.labels(stream).observe(seconds)
