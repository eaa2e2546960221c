"""How the job grows: the identities that it begins with, and what is said of its figures."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.bench.flink.growth import _A_RECORD, STREAM, Cell, _records
from infra.bench.flink.growth_page import limit, table, write
from infra.runtime.settings import DEFAULT_CONFIG, parse
from streams.operators.pipeline import CleanPipeline


def cell(keys: int, tasks: int, rate: int) -> dict[str, Any]:
    """Return a measured cell's figures."""
    return {
        "keys": keys,
        "tasks": tasks,
        "events_per_s": rate,
        "cpu_us_per_event": 20.0,
        "lost": 0,
        "doubled": 0,
        "checkpoints": 3,
        "checkpoint_bytes": 16_000_000,
        "checkpoint_ms": {"median": 80, "longest": 200},
    }


FAILED = Cell(50_000_000, 1, failed="it did not warm up").as_json()
FIGURES = {
    "cores": 2,
    "cells": [cell(1_000_000, 1, 30_000), cell(1_000_000, 2, 58_000), cell(1_000_000, 4, 57_000), FAILED],
}


def test_a_job_takes_the_identities_in():
    """What is written is a changelog that a pipeline restores, to the last identity."""
    pipeline = CleanPipeline(parse(DEFAULT_CONFIG, "the test").streams)
    keys = 2 * _A_RECORD + 5
    assert pipeline.restore(list(_records(keys)), datetime.fromtimestamp(time.time(), UTC)) == keys
    assert len(pipeline.memories[STREAM]) == keys


def test_the_point_where_more_tasks_bring_nothing_is_named():
    """A rate that rises by no more than a tenth is the limit."""
    said = limit(FIGURES)
    assert "58,000 events/s with 2 tasks, and more bring nothing" in said
    assert "50,000,000" not in said


def test_a_failed_cell_is_in_the_table_and_not_in_the_plots(tmp_path: Path):
    """The page holds all cells, and plots of rates and of the sizes and durations of checkpoints."""
    assert "| 50,000,000 | 1 | failed |" in table(FIGURES)
    page = tmp_path / "growth.html"
    write(page, FIGURES)
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 3 and "58,000" in text and "failed" in text
