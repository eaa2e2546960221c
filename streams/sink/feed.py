"""One partition's way into its table, exactly once, with the table itself as the only ledger.

The protocol. `last` is the highest offset of this partition in the table. An insert holds the records that
follow `last`, is one part of the table (all of it becomes visible, or nothing), and carries the deduplication
token `topic:partition:last`. After every insert the table is asked for its highest offset again:

- it is the insert's own last offset: the rows are there, go on;
- it is still `last`: nothing was inserted; insert again (if ClickHouse said that it had inserted, the token
  was used up by a crash between ClickHouse's two writes: then under the next token, `…:last~1`);
- it is anything else: another writer, a predecessor not yet gone or a successor already there, wrote from the
  same `last`. Both inserts had the same token, so just one was taken. Go on reading where the table ends.

By induction the table holds each offset at most once and without a gap: a row can only be added by an insert
that starts where the table ended, and of all inserts that start there ClickHouse takes one. The window in
which it remembers tokens (10,000 inserts a table, 8 minutes at 20 a second) is longer than an insert may be
under way; a writer that slept for longer than `CHECK_AFTER_S` asks the table before it inserts.

The question cannot be spared by what ClickHouse answers to the insert: `written_rows` counts the rows of an
insert that was taken for a duplicate as well. But one question serves all partitions of a table: `begin`
inserts, `highest` asks once for all inserts of a round, `finish` draws the conclusions. By then the rows are
selectable, so that the question delays nothing but the next round.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Final, NamedTuple, TypeVar

from infra.runtime import metrics
from infra.runtime.log import get_logger
from infra.runtime.warehouse import Warehouse, WarehouseRefused
from schemas.errors import Retryable
from schemas.record import Incoming
from streams.sink.rows import encode_rows

T = TypeVar("T")

CHECK_AFTER_S: Final = 10.0
_log = get_logger(__name__)
_ONE_PART: Final = {
    "input_format_parallel_parsing": "0",
    "max_insert_block_size": "1048576",
    "async_insert": "0",
    # one block is parsed and written by one thread anyway; a second one would only be woken for it
    "max_threads": "1",
}
_CODE: Final = re.compile(r"Code: (\d+)")
# ClickHouse's codes for rows that it cannot read or store; other refusals may pass (memory, parts, access)
_BAD_ROWS: Final = frozenset(
    {
        6,
        16,
        25,
        26,
        27,
        32,
        33,
        36,
        38,
        41,
        43,
        53,
        69,
        70,
        72,
        85,
        86,
        117,
        130,
        131,
        321,
        349,
        407,
        467,
        472,
        582,
    }
)


class BadRows(Exception):
    """ClickHouse cannot store at least one row of the insert; nothing was inserted."""


class Begun(NamedTuple):
    """An insert that was sent: its rows, its last offset, and whether ClickHouse said that it took it."""

    rows: bytes
    end: int
    inserted: bool


class Feed:
    """The state of one partition: where its table ends, once that is known."""

    def __init__(self, warehouse: Warehouse, table: str, topic: str, partition: int) -> None:
        self._warehouse = warehouse
        self.table = table
        self._topic = topic
        self._partition = partition
        self._used_up = 0
        self._checked_at = 0.0
        self.last: int | None = None
        self.position = 0

    async def locate(self) -> int:
        """Ask the table where it ends, and return the offset to read on from."""
        found = await persistently(self._highest)
        self._moved(found)
        self.position = found + 1
        return self.position

    async def write(self, records: Sequence[Incoming]) -> bool:
        """Insert records that follow `last`; False if another writer did, then read on from `position`.

        Raises:
            BadRows: a row does not fit the table.
        """
        begun = await self.begin(records)
        return begun is not None and await self.finish(begun, await persistently(self._highest))

    async def begin(self, records: Sequence[Incoming]) -> "Begun | None":
        """Insert records that follow `last`; whether they are in the table is for `finish` to find out.

        None if another writer was found to have written; then read on from `position`.

        Raises:
            BadRows: a row does not fit the table.
        """
        if self.last is None or monotonic() - self._checked_at > CHECK_AFTER_S:
            expected = self.last
            found = await persistently(self._highest)
            self._moved(found)
            if expected is not None and found != expected:
                self._overtaken(found)
                return None
        rows = encode_rows(records)
        return Begun(rows, records[-1].offset, await self._attempt(rows))

    async def finish(self, begun: "Begun", found: int) -> bool:
        """Conclude from where the table ends, asked after the insert; False if another writer wrote.

        Raises:
            BadRows: a row does not fit the table.
        """
        delay_s = 0.05
        inserted = begun.inserted
        while True:
            if found == begun.end:
                self._moved(found)
                self.position = max(self.position, found + 1)
                return True
            if found != self.last:
                return self._overtaken(found)
            if inserted:
                self._used_up += 1
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, 5.0)
            inserted = await self._attempt(begun.rows)
            found = await persistently(self._highest)

    async def _attempt(self, rows: bytes) -> bool:
        """Insert once; False if ClickHouse did not say that it had."""
        token = f"{self._topic}:{self._partition}:{self.last}"
        if self._used_up:
            token += f"~{self._used_up}"
        try:
            began_s = monotonic()
            await self._warehouse.insert_json(self.table, rows, token=token, settings=_ONE_PART)
            metrics.observe_insert(self.table, monotonic() - began_s)
        except WarehouseRefused as error:
            if _is_about_rows(error):
                raise BadRows(str(error)) from error
            _log.warning("insert.refused", table=self.table, error=str(error)[:300])
            return False
        except Retryable as error:
            _log.warning("insert.failed", table=self.table, error=str(error)[:300])
            return False
        return True

    async def _highest(self) -> int:
        ends = await highest(self._warehouse, self.table, self._topic)
        return ends.get(self._partition, -1)

    def _moved(self, found: int) -> None:
        if found != self.last:
            self._used_up = 0
        self.last = found
        self._checked_at = monotonic()

    def _overtaken(self, found: int) -> bool:
        metrics.count_overtaken(self.table)
        _log.info(
            "insert.overtaken", topic=self._topic, partition=self._partition, expected=self.last, found=found
        )
        self._moved(found)
        self.position = found + 1
        return False


async def highest(warehouse: Warehouse, table: str, topic: str) -> dict[int, int]:
    """Return the highest offset of each of a topic's partitions in its table; none for one without rows.

    ClickHouse answers from the bounds of each part's partition key, which it keeps in memory; a second thread
    would cost more than it saves.
    """
    rows = await warehouse.query(
        f"SELECT _partition, max(_offset) AS last FROM {warehouse.database}.{table} "
        "WHERE _topic = {topic:String} GROUP BY _topic, _partition SETTINGS max_threads = 1",
        {"topic": topic},
    )
    return {int(row["_partition"]): int(row["last"]) for row in rows}


async def persistently(action: Callable[[], Awaitable[T]]) -> T:
    """Do it until ClickHouse answers; meanwhile nothing is polled, and the topics hold what comes."""
    delay_s = 0.1
    while True:
        try:
            return await action()
        except (Retryable, WarehouseRefused) as error:
            _log.warning("warehouse.away", error=str(error)[:300], retry_s=delay_s)
        await asyncio.sleep(delay_s)
        delay_s = min(delay_s * 2, 5.0)


def _is_about_rows(error: WarehouseRefused) -> bool:
    code = _CODE.search(str(error))
    return code is not None and int(code[1]) in _BAD_ROWS
