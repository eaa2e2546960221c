"""Reads labelled rows from the warehouse: consumes ClickHouse's `events` and `labels`, produces a Dataset.

The newest label of an event wins. The replay reservoir is class-balanced and drawn in the order of a hash, so
that the same rows, whose vectors are cached, come again in the next run.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from infra.runtime.warehouse import Warehouse
from schemas.config import Learn
from schemas.record import Coordinates
from trainers.dataset import HELD_OUT, Dataset, Row, split

_LABELS: Final = """
SELECT source, id, argMax(label, labelled_at) AS label FROM labels
WHERE stream = {stream:String} GROUP BY source, id"""

_COLUMNS: Final = """
e.source AS source, e.id AS id, toUnixTimestamp64Milli(toDateTime64(e.time, 3)) AS time_ms, e.text AS text,
e.values AS values, e._topic AS topic, e._partition AS partition, e._offset AS offset"""

_SINCE: Final = "fromUnixTimestamp64Milli({since:Int64}, 'UTC')"


class Reader:
    """Reads one stream's rows; `labelled` False takes events as they are, for anomaly models."""

    def __init__(self, warehouse: Warehouse, stream: str, *, labelled: bool) -> None:
        self._warehouse = warehouse
        self._stream = stream
        self._join = f"INNER JOIN ({_LABELS}) AS l ON e.source = l.source AND e.id = l.id" if labelled else ""
        self._label = "l.label" if labelled else "''"

    async def count(self, since: datetime | None) -> int:
        """Return how many usable rows there are since a moment of event time, or at all."""
        sql = f"SELECT count() AS n FROM events AS e {self._join} WHERE {self._where('>=' if since else '')}"
        rows = await self._warehouse.query(sql, self._parameters(since))
        return int(rows[0]["n"])

    async def labels(self) -> list[str]:
        """Return the distinct labels that usable rows have."""
        sql = f"SELECT DISTINCT {self._label} AS label FROM events AS e {self._join} WHERE {self._where('')}"
        return sorted(str(row["label"]) for row in await self._warehouse.query(sql, self._parameters(None)))

    async def dataset(self, learn: Learn, since: datetime | None) -> Dataset:
        """Read recent rows since `since` and a replay reservoir from before; without `since`, all are recent.

        Raises:
            Fatal: there are too few rows to train on and evaluate with.
        """
        newest = f"ORDER BY e.time DESC, e.id LIMIT {learn.recent if since else learn.recent + learn.replay}"
        recent = await self._rows(since, ">=" if since else "", newest)
        old = await self._reservoir(since, learn.replay) if since and learn.replay else []
        return split(recent, old)

    async def _reservoir(self, since: datetime, size: int) -> list[Row]:
        """Draw about `size` training rows, equally many of each class if there are, and a fifth held out."""
        size += size // (HELD_OUT - 1)
        tally = f"SELECT {self._label} AS label, count() AS n FROM events AS e {self._join}"
        counted = await self._warehouse.query(
            f"{tally} WHERE {self._where('<')} GROUP BY label", self._parameters(since)
        )
        quota = fair_quota([int(row["n"]) for row in counted], size)
        drawn = f"ORDER BY cityHash64(e.source, e.id) LIMIT {quota} BY label" if quota else "LIMIT 0"
        return await self._rows(since, "<", drawn)

    async def _rows(self, since: datetime | None, comparison: str, rest: str) -> list[Row]:
        sql = f"SELECT {_COLUMNS}, {self._label} AS label FROM events AS e {self._join} "
        rows = await self._warehouse.query(
            f"{sql} WHERE {self._where(comparison)} {rest}", self._parameters(since)
        )
        return [_warehouse_row(row) for row in rows]

    def _where(self, comparison: str) -> str:
        return "e.stream = {stream:String}" + (f" AND e.time {comparison} {_SINCE}" if comparison else "")

    def _parameters(self, since: datetime | None) -> dict[str, Any]:
        stamp = {"since": int(since.timestamp() * 1000)} if since else {}
        return {"stream": self._stream, **stamp}


def fair_quota(counts: Sequence[int], size: int) -> int:
    """Return the largest per-class number of rows whose sum stays within `size`."""
    left = size
    for rank, count in enumerate(sorted(counts)):
        share = left // (len(counts) - rank)
        if count > share:
            return share
        left -= count
    return max(counts, default=0)


def _warehouse_row(row: dict[str, Any]) -> Row:
    return Row(
        source=str(row["source"]),
        id=str(row["id"]),
        time=datetime.fromtimestamp(int(row["time_ms"]) / 1000, UTC),
        event=Coordinates(str(row["topic"]), int(row["partition"]), int(row["offset"])),
        label=str(row["label"]),
        text=str(row["text"]),
        values={str(name): float(value) for name, value in dict(row["values"]).items() if value is not None},
    )
