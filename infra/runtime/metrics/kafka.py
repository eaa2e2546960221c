"""How the workers get on with Kafka: lag, batch sizes, transaction times, and what is paused.

Lag comes from what the consumer knows already (each answer to a fetch carries the partition's end): it costs
no request. It is looked at no more than once a second, however many batches there are.
"""

import time
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram

LAG: Final = Gauge(
    "headrace_consumer_lag_records",
    "Records of a partition that the group has not taken yet",
    ["group", "topic", "partition"],
)
BATCH_RECORDS: Final = Histogram(
    "headrace_batch_records",
    "Records in a batch",
    ["group"],
    buckets=(1, 4, 16, 64, 256, 1024, 4096, 16384),
)
PROCESS_SECONDS: Final = Histogram(
    "headrace_batch_process_seconds",
    "Seconds that a batch was worked on, its transaction apart",
    ["group"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
TRANSACTION_SECONDS: Final = Histogram(
    "headrace_transaction_seconds",
    "Seconds from the first output of a transaction to its commit",
    ["group"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
FAILED: Final = Counter(
    "headrace_transactions_failed_total",
    "Transactions that did not commit; their batches come again",
    ["group"],
)
PAUSED: Final = Gauge("headrace_paused", "1 while an operator has paused it", ["scope", "name"])

_LOOK_EVERY_S: Final = 1.0
_looked_at: dict[str, float] = {}
_shown: dict[str, set[tuple[str, str]]] = {}


def observe_batch(group: str, records: int, seconds: float) -> None:
    """Note a batch's size and the time its handler took."""
    BATCH_RECORDS.labels(group).observe(records)
    PROCESS_SECONDS.labels(group).observe(seconds)


def observe_transaction(group: str, seconds: float) -> None:
    """Note the time that a committed transaction took."""
    TRANSACTION_SECONDS.labels(group).observe(seconds)


def count_failed_transaction(group: str) -> None:
    """Count a transaction that was aborted or whose producer was fenced."""
    FAILED.labels(group).inc()


def observe_lag(consumer: Any, group: str) -> None:
    """Note the lag of every partition that an aiokafka consumer owns. Call it as often as you fetch."""
    now_s = time.monotonic()
    if now_s - _looked_at.get(group, 0.0) < _LOOK_EVERY_S:
        return
    _looked_at[group] = now_s
    lags: dict[tuple[str, int], int] = {}
    # The positions lie ready; the public way to them is a coroutine that may wait for the broker.
    subscription = consumer._subscription.subscription  # noqa: SLF001
    assignment: Any = getattr(subscription, "assignment", None)
    for partition in () if assignment is None else assignment.tps:
        state = assignment.state_value(partition)
        if state is None or state.highwater is None or not state.has_valid_position:
            continue
        lags[partition.topic, partition.partition] = max(0, state.highwater - state.position)
    note_lag(group, lags)


def note_lag(group: str, lags: dict[tuple[str, int], int]) -> None:
    """Show the lag of these partitions, and no longer that of others."""
    now_shown = {(topic, str(partition)) for topic, partition in lags}
    for topic, number in _shown.get(group, set()) - now_shown:
        LAG.remove(group, topic, number)
    _shown[group] = now_shown
    for (topic, partition), lag in lags.items():
        LAG.labels(group, topic, str(partition)).set(lag)


def forget_lag(group: str) -> None:
    """Show no lag of a group any more: this worker left it."""
    note_lag(group, {})
    _looked_at.pop(group, None)


def set_paused(scope: str, name: str, *, paused: bool) -> None:
    """Show whether a stage or stream is paused."""
    PAUSED.labels(scope, name).set(1 if paused else 0)
