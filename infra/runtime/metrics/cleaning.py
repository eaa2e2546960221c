"""What the cleaning stage did with the events of `events.raw`; fed by the `streams` worker, batch by batch.

accepted + duplicates + rejected{stage="clean"} = events taken in (parked ones wait and are none of these)
"""

import time
from collections.abc import Mapping
from datetime import datetime
from threading import Lock
from typing import Final

from prometheus_client import Counter, Gauge

from schemas.errors import Reason

ACCEPTED: Final = Counter(
    "headrace_events_accepted_total", "Events cleaned and written to events.clean", ["stream"]
)
DUPLICATES: Final = Counter(
    "headrace_events_duplicates_total", "Events dropped because their identity was seen before", ["stream"]
)
REJECTED: Final = Counter(
    "headrace_events_rejected_total",
    "Events sent to events.dead; stream is empty where it could not be told",
    ["stage", "stream", "reason"],
)
PARKED: Final = Counter(
    "headrace_events_parked_total", "Events of a paused stream that were set aside", ["stream"]
)
FORWARDED: Final = Counter(
    "headrace_events_forwarded_total", "Events met elsewhere than at home, and forwarded there"
)
EVENT_TIME: Final = Gauge(
    "headrace_event_time_seconds",
    "Newest event time cleaned, in seconds since 1970, of each partition",
    ["stream", "partition"],
)
DELAY: Final = Gauge(
    "headrace_watermark_delay_seconds",
    "Now minus the newest event time cleaned, of the partition that is furthest behind",
    ["stream"],
)

_newest: dict[str, dict[int, float]] = {}
_lock: Final = Lock()
"""The exporter's thread reads what the worker's thread writes."""


def count_cleaned(
    *, accepted: int, duplicates: int, rejected: Mapping[Reason, int], stream: str = ""
) -> None:
    """Count the outcome of one batch, or of one stream's part of it."""
    if accepted:
        ACCEPTED.labels(stream).inc(accepted)
    if duplicates:
        DUPLICATES.labels(stream).inc(duplicates)
    for reason, count in rejected.items():
        REJECTED.labels("clean", stream, reason.value).inc(count)


def count_forwarded(events: int) -> None:
    """Count events that were forwarded to their home partition."""
    FORWARDED.inc(events)


def count_parked(stream: str, events: int) -> None:
    """Count events of a paused stream that wait for its resumption."""
    PARKED.labels(stream).inc(events)


def note_event_time(stream: str, partition: int, newest: datetime) -> None:
    """Note the newest event time of a batch; the delay is reckoned whenever it is asked for."""
    newest_s = newest.timestamp()
    with _lock:
        partitions = _newest.get(stream)
        if partitions is None:
            partitions = _newest[stream] = {}
            DELAY.labels(stream).set_function(lambda: _delay_s(stream))
        if newest_s <= partitions.get(partition, float("-inf")):
            return
        partitions[partition] = newest_s
    EVENT_TIME.labels(stream, str(partition)).set(newest_s)


def forget_event_times(partition: int) -> None:
    """Leave a partition that another worker owns now out of the delay."""
    with _lock:
        for stream, partitions in _newest.items():
            if partitions.pop(partition, None) is not None:
                EVENT_TIME.remove(stream, str(partition))


def _delay_s(stream: str) -> float:
    with _lock:
        times = list(_newest.get(stream, {}).values())
    return time.time() - min(times) if times else float("nan")
