"""The dedupe benchmark's verdict and table."""

from typing import Any

import pytest

from infra.bench.dedupe.figures import report, right

FIGURES: dict[str, Any] = {
    "keys": 1000,
    "rss_bytes": 2**28,
    "table_bytes": 2**20,
    "bytes_per_key": 27.5,
    "insert_us": 0.5,
    "fingerprint_us": 0.6,
    "lookup_us": {"hit": 0.3, "miss": 0.2},
    "longest_pause_ms": {"insert": 9.0, "lookup": 1.0, "expire": 2.0},
    "longest_pause_cpu_ms": {"insert": 8.0, "lookup": 1.0, "expire": 2.0},
    "recovery_s": {"snapshot": 1.5, "log": 2.5},
    "recovered": {"snapshot": 1000, "log": 1000},
    "false_positives": 0,
    "false_negatives": 0,
}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"false_positives": 1}, False),
        ({"false_negatives": 1}, False),
        ({"recovered": {"snapshot": 999, "log": 1000}}, False),
        ({"recovered": {"snapshot": 1000, "log": 1001}}, False),
    ],
)
def test_one_wrong_answer_fails_the_run(change, good):
    """A run is right only if every key came back, both ways, and every answer was right."""
    assert right({**FIGURES, **change}) is good


def test_the_table_names_the_goals():
    """Each figure that has a goal stands beside it."""
    table = report(FIGURES)
    assert "256 MiB   2,048 MiB" in table
    assert "2.5 s        60 s" in table
