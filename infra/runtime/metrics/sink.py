"""What the `sink` worker did: rows, inserts, inserts that another writer was ahead of, rows turned away."""

from typing import Final

from prometheus_client import Counter, Histogram

ROWS: Final = Counter("headrace_sink_rows_total", "Rows written to ClickHouse", ["table"])
INSERT_SECONDS: Final = Histogram(
    "headrace_sink_insert_seconds",
    "Seconds from an insert to the answer of ClickHouse that it took it",
    ["table"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
OVERTAKEN: Final = Counter(
    "headrace_sink_inserts_overtaken_total",
    "Inserts before which another writer wrote the same rows",
    ["table"],
)
BURIED: Final = Counter(
    "headrace_sink_rows_buried_total", "Records that fit no row and went to events.dead", ["table", "reason"]
)


def count_rows(table: str, rows: int) -> None:
    """Count rows that are in their table."""
    ROWS.labels(table).inc(rows)


def observe_insert(table: str, seconds: float) -> None:
    """Note how long an insert took that was taken."""
    INSERT_SECONDS.labels(table).observe(seconds)


def count_overtaken(table: str) -> None:
    """Count an insert that was absorbed because the rows were there already."""
    OVERTAKEN.labels(table).inc()


def count_buried(table: str, reason: str) -> None:
    """Count a record that became a dead letter; `reason` is one of `schemas.errors.Reason`."""
    BURIED.labels(table, reason).inc()
