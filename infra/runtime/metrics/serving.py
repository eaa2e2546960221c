"""What the `serving` worker did: predictions, inference times, cache hits, swaps."""

import functools
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

PREDICTIONS: Final = Counter(
    "headrace_predictions_total", "Predictions made, cached ones included", ["model"]
)
CACHE_HITS: Final = Counter(
    "headrace_prediction_cache_hits_total", "Predictions answered from the cache", ["model"]
)
INFERENCE_SECONDS: Final = Histogram(
    "headrace_inference_seconds",
    "Seconds that the model took for the unseen rows of one batch",
    ["model"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
INFERENCE_ROWS: Final = Counter(
    "headrace_inference_rows_total", "Rows that the model itself answered", ["model"]
)
SWAPS: Final = Counter(
    "headrace_model_swaps_total", "Candidates by what became of them", ["model", "outcome"]
)
SHADOWS: Final = Counter(
    "headrace_shadow_answers_total", "Events that two versions answered", ["model", "stage", "agreed"]
)
VERSION: Final = Gauge("headrace_model_version", "Version that answers now", ["model"])


def count_predictions(model: str, predictions: int) -> None:
    """Count the predictions of one batch."""
    PREDICTIONS.labels(model).inc(predictions)


def count_cache_hits(model: str, hits: int) -> None:
    """Count those of them that the cache knew."""
    if hits:
        CACHE_HITS.labels(model).inc(hits)


def observe_inference(model: str, rows: int, seconds: float) -> None:
    """Note the model's own work on one batch."""
    times, count = _inference(model)
    times.observe(seconds)
    count.inc(rows)


@functools.lru_cache(maxsize=1024)
def _inference(model: str) -> tuple[Histogram, Counter]:
    """Return a model's series: looking one up by its labels costs more than counting."""
    return INFERENCE_SECONDS.labels(model), INFERENCE_ROWS.labels(model)


def count_shadow(model: str, stage: str, *, agreed: bool) -> None:
    """Count an event that a second version answered too, while a release is on trial."""
    SHADOWS.labels(model, stage, str(agreed).lower()).inc()


def count_swap(model: str, outcome: str) -> None:
    """Count a candidate; `outcome` is `swapped`, `rejected`, `awaited` or the stage it entered."""
    SWAPS.labels(model, outcome).inc()


def set_model_version(model: str, version: int) -> None:
    """Show the version that answers from here on."""
    VERSION.labels(model).set(version)
