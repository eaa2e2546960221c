"""The view `comparison`: what analysts read of two versions that answered the same events."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from infra.clickhouse.migrate import migrate
from infra.runtime.settings import Endpoints
from infra.runtime.warehouse import Warehouse

pytestmark = pytest.mark.live

_AT = "2026-03-14 09:00:00.000000"


@pytest.fixture
async def warehouse(stack: Endpoints, unique: str) -> AsyncIterator[Warehouse]:
    """A database of this test's own, with all tables."""
    opened = await Warehouse.open(stack.clickhouse, unique)
    try:
        await migrate(opened)
        yield opened
    finally:
        await opened.close()


async def store(warehouse: Warehouse, table: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows as the sink does."""
    placed = [
        {**row, "_topic": table, "_partition": 0, "_offset": number, "_arrived": "2026-03-14"}
        for number, row in enumerate(rows)
    ]
    await warehouse.insert_json(table, "\n".join(map(json.dumps, placed)).encode())


def shadow(id: str, score: float, served: float, tolerance: float | None, **more: Any) -> dict[str, Any]:
    """Two versions' answers to one event; an empty answer has the score 0."""
    return {
        "stream": "host", "source": "s", "id": id, "event_time": _AT, "answered_at": _AT, "model": "host",
        "stage": "full", "version": 1, "served_version": 2, "label": f"{score:g}", "score": score,
        "served_label": f"{served:g}", "served_score": served, "tolerance": tolerance, **more,
    }  # fmt: skip


async def test_an_answer_that_is_missing_is_no_zero(warehouse: Warehouse) -> None:
    """Neither side is right by an answer that it did not give; a label that says no number is none."""
    failed = {"problem": "NaN", "label": ""}
    served_failed = {"served_problem": "NaN", "served_label": ""}
    shadows = [
        shadow("both", 0.1, 0.9, 0.5),
        shadow("first failed", 0.0, 0.1, 0.5, **failed),
        shadow("second failed", 0.1, 0.0, 0.5, **served_failed),
        shadow("no number", 0.1, 0.1, 0.5),
        shadow("unlabelled", 0.1, 0.1, 0.5),
    ]
    truths = {"both": "0", "first failed": "0", "second failed": "0", "no number": "broken"}
    labels = [
        {"stream": "host", "source": "s", "id": id, "label": label, "labelled_at": _AT}
        for id, label in truths.items()
    ]
    await store(warehouse, "shadows", shadows)
    await store(warehouse, "labels", labels)
    (row,) = await warehouse.query("SELECT * FROM comparison")
    assert (row["events"], row["labelled"], row["failed"], row["served_failed"]) == (5, 3, 1, 1)
    assert (row["right"], row["served_right"]) == (2, 1)


async def test_classes_are_compared_by_their_names(warehouse: Warehouse) -> None:
    """Every label counts where answers are classes, numbers or not."""
    classes = {"label": "warm", "served_label": "cold"}
    await store(warehouse, "shadows", [shadow(id, 0.9, 0.8, None, **classes) for id in "abc"])
    labels = [
        {"stream": "host", "source": "s", "id": id, "label": label, "labelled_at": _AT}
        for id, label in {"a": "warm", "b": "cold", "c": "7"}.items()
    ]
    await store(warehouse, "labels", labels)
    (row,) = await warehouse.query("SELECT * FROM comparison")
    assert (row["labelled"], row["right"], row["served_right"]) == (3, 1, 1)
