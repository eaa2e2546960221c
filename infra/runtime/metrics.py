"""Every Prometheus metric of Headrace, declared in one place; the unit is in the name."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import Counter

from schemas.errors import Reason

EVENTS_CLEANED: Final = Counter("headrace_events_cleaned_total", "Events accepted and normalised")
EVENTS_DUPLICATE: Final = Counter("headrace_events_duplicate_total", "Events dropped as exact duplicates")
EVENTS_REJECTED: Final = Counter("headrace_events_rejected_total", "Events sent to events.dead", ["reason"])


def count_cleaned(*, accepted: int, duplicates: int, rejected: Mapping[Reason, int]) -> None:
    """Count the outcome of one batch of the cleaning stage."""
    EVENTS_CLEANED.inc(accepted)
    EVENTS_DUPLICATE.inc(duplicates)
    for reason, count in rejected.items():
        EVENTS_REJECTED.labels(reason.value).inc(count)
