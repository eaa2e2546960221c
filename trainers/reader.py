"""Reads labelled rows from the warehouse: consumes ClickHouse's `events` and `labels`, produces a Dataset.

The newest label of an event wins. All queries of one dataset see the same warehouse: what was stored later
is left out, by `_inserted_at`, so that the recorded queries give the same rows again. What the replay
reservoir may want is drawn in its own order (`trainers.reservoir`), so that the same rows, whose vectors are
cached, come again in the next run.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from infra.runtime.log import get_logger
from infra.runtime.warehouse import Warehouse
from schemas.cleaning import Cleaning
from schemas.config import Learn
from schemas.record import Coordinates
from schemas.release import Release, Task
from trainers.dataset import Dataset
from trainers.description import Window, window
from trainers.memory import Memory, Origin
from trainers.reservoir import capacity, fair_quota
from trainers.row import Row

_log = get_logger(__name__)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)

_LABELS: Final = """
SELECT source, id, argMax(label, tuple(labelled_at, _offset)) AS label FROM labels
WHERE stream = {stream:String} AND _inserted_at <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')
GROUP BY source, id"""

_JOIN: Final = f"INNER JOIN ({_LABELS}) AS l ON e.source = l.source AND e.id = l.id"

_COLUMNS: Final = """
e.source AS source, e.id AS id, toUnixTimestamp64Micro(e.time) AS time_us, e.text AS text,
e.values AS values, e._topic AS topic, e._partition AS partition, e._offset AS offset"""

_STORED: Final = """
e.stream = {stream:String} AND e._inserted_at <= fromUnixTimestamp64Milli({as_of:Int64}, 'UTC')"""

_SINCE: Final = "fromUnixTimestamp64Micro({since:Int64}, 'UTC')"

_DRAWN: Final = "MD5(concat(toString({seed:Int64}), char(0), e.source, char(0), e.id))"
"""`trainers.reservoir.key` in SQL."""

_NEVER: Final = 2**42
"""Milliseconds since 1970 that no row is stored after: the year 2109."""


class Reader:
    """Reads one stream's rows: for anomaly models events as they are, else with their labels.

    For a regression the label is the row's target; events whose label is no finite number are left out.
    `memory` is the file of the replay reservoir and the split; without it they last as long as the reader.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        stream: str,
        *,
        task: Task,
        memory: Path | None = None,
        cleaning: Cleaning | None = None,
    ) -> None:
        self._warehouse = warehouse
        self._stream = stream
        self._cleaning = cleaning or Cleaning()
        self._file = memory
        self._memory: Memory | None = None
        self._join = _JOIN if task is not Task.ANOMALY else ""
        self._label = "l.label" if task is Task.CLASSIFICATION else "''"
        self._target = "toFloat64OrNull(l.label)" if task is Task.REGRESSION else ""

    async def count(self, since: datetime | None) -> int:
        """Return how many usable rows there are since a moment of event time, or at all."""
        rows = await self._select("count() AS n", since, ">=", {"as_of": _NEVER})
        return int(rows[0]["n"])

    async def unusable(self) -> int:
        """Return how many labelled rows have a label that says no number, where numbers are learnt."""
        if not self._target:
            return 0
        says_none = f"countIf(NOT ifNull(isFinite({self._target}), false)) AS n"
        sql = f"SELECT {says_none} FROM events AS e {self._join} WHERE {_STORED}"
        rows = await self._warehouse.query(sql, self._parameters(None, {"as_of": _NEVER}))
        return int(rows[0]["n"])

    async def labels(self) -> list[str]:
        """Return the distinct labels that usable rows have."""
        rows = await self._select(f"DISTINCT {self._label} AS label", None, "", {"as_of": _NEVER})
        return sorted(str(row["label"]) for row in rows)

    async def dataset(
        self,
        learn: Learn,
        since: datetime | None,
        *,
        alert: str | None = None,
        champion: Release | None = None,
    ) -> Dataset:
        """Read recent rows since `since` and a replay reservoir from before; without `since`, all are recent.

        `alert` and `champion` go into its lineage.

        Raises:
            Fatal: there are too few rows to train on and evaluate with.
        """
        moment = await self._warehouse.query("SELECT toUnixTimestamp64Milli(now64(3)) AS now")
        as_of = {"as_of": int(moment[0]["now"])}
        size = learn.recent if since else learn.recent + learn.replay
        recent, found = await self._rows(
            "recent", since, ">=", "ORDER BY e.time DESC, e.source, e.id LIMIT {size:UInt64}",
            {**as_of, "size": size},
        )  # fmt: skip
        windows, old = [found], list[Row]()
        if since and learn.replay:
            old, found = await self._before(learn, since, as_of)
            windows.append(found)
        training = champion.training if champion else None
        origin = Origin(
            stream=self._stream,
            alert=alert,
            champion=champion.version if champion else None,
            parent=training.dataset_sha256 if training else "",
            windows=tuple(windows),
            cleaning=self._cleaning,
            created_at=_EPOCH + timedelta(milliseconds=as_of["as_of"]),
        )
        data = await asyncio.to_thread(self._remembered, learn, recent, old, since, origin)
        leaks = data.leaks
        _log.info(
            "dataset.collected",
            stream=self._stream, sha256=data.sha256(), training=len(data.training),
            validation=len(data.validation), test=len(data.test), rare=data.rare,
            leaks={"identity": leaks.identity, "content": leaks.content, "near": leaks.near},
            recurring=leaks.recurring,
            leaks_kept=leaks.kept,
            unusable_labels=await self.unusable(),
        )  # fmt: skip
        return data

    def _remembered(
        self, learn: Learn, recent: list[Row], old: list[Row], since: datetime | None, origin: Origin
    ) -> Dataset:
        if self._memory is None:
            self._memory = Memory(self._file)
        return self._memory.dataset(learn, recent, old, since, origin)

    async def _before(
        self, learn: Learn, since: datetime, as_of: Mapping[str, int]
    ) -> tuple[list[Row], Window]:
        """Read what the reservoir would keep of all rows before `since`: the lowest keys of each class."""
        counted = await self._select(
            f"{self._label} AS label, count() AS n", since, "<", as_of, "GROUP BY label"
        )
        quota = fair_quota([int(row["n"]) for row in counted], capacity(learn.replay))
        return await self._rows(
            "before", since, "<", f"ORDER BY {_DRAWN} LIMIT {{quota:UInt64}} BY label",
            {**as_of, "seed": learn.seed, "quota": max(1, quota)},
        )  # fmt: skip

    async def _rows(
        self, name: str, since: datetime | None, comparison: str, rest: str, parameters: Mapping[str, int]
    ) -> tuple[list[Row], Window]:
        columns = f"{_COLUMNS}, {self._label} AS label"
        if self._target:
            columns += f", {self._target} AS target"
        rows = [
            _warehouse_row(row) for row in await self._select(columns, since, comparison, parameters, rest)
        ]
        query = self._sql(columns, since, comparison, rest)
        return rows, window(name, rows, query, self._parameters(since, parameters))

    async def _select(
        self,
        columns: str,
        since: datetime | None,
        comparison: str,
        parameters: Mapping[str, int],
        rest: str = "",
    ) -> list[dict[str, Any]]:
        return await self._warehouse.query(
            self._sql(columns, since, comparison, rest), self._parameters(since, parameters)
        )

    def _sql(self, columns: str, since: datetime | None, comparison: str, rest: str) -> str:
        bound = f" AND e.time {comparison} {_SINCE}" if since else ""
        if self._target:
            bound += f" AND isFinite({self._target})"
        return f"SELECT {columns} FROM events AS e {self._join} WHERE {_STORED}{bound} {rest}"

    def _parameters(self, since: datetime | None, parameters: Mapping[str, int]) -> dict[str, Any]:
        stamp = {"since": (since - _EPOCH) // _US} if since else {}
        return {"stream": self._stream, **stamp, **parameters}


def _warehouse_row(row: dict[str, Any]) -> Row:
    return Row(
        source=str(row["source"]),
        id=str(row["id"]),
        time=_EPOCH + int(row["time_us"]) * _US,
        event=Coordinates(str(row["topic"]), int(row["partition"]), int(row["offset"])),
        label=str(row["label"]),
        text=str(row["text"]),
        values={str(name): float(value) for name, value in dict(row["values"]).items() if value is not None},
        target=float(row["target"]) if "target" in row else None,
    )
