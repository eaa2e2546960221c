"""The checker: consumes the topics from their beginning and ClickHouse's tables, produces counts per id.

Everything is read anew and read committed, as an application would; nothing that the run noted is trusted
but the list of what was acknowledged.
"""

import base64
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

import msgspec

from infra.bench.chaos.copies import Copies
from infra.bench.chaos.drain import Ends, group_reached, raw_ends, tables_reached
from infra.bench.chaos.plan import Plan
from infra.bench.chaos.traffic import BAD_ID
from infra.bench.chaos.watch import named
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse
from schemas import codec, topics
from schemas.dead import Dead
from schemas.topics import Topic
from serving.consumer import GROUP as SERVING_GROUP
from streams.apps.clean import GROUP as STREAMS_GROUP

_PAGE: Final = 100_000
_BAD: Final = re.compile(rb'"' + BAD_ID.encode() + rb"(\d+)\.")


@dataclass
class Places:
    """How often each event, and each bad record, is in each place."""

    clean: Copies
    predictions: Copies
    warehouse: Copies
    warehouse_predictions: Copies
    dead: Copies
    warehouse_dead: Copies
    reasons: Counter[str] = field(default_factory=Counter)

    @classmethod
    def empty(cls, events: int, bad: int) -> Self:
        """Make the places of a run of so many events and bad records."""
        return cls(
            clean=Copies(events),
            predictions=Copies(events),
            warehouse=Copies(events),
            warehouse_predictions=Copies(events),
            dead=Copies(bad),
            warehouse_dead=Copies(bad),
        )


async def read_all(plan: Plan, settings: Settings, bad: int, say: Callable[[str], None]) -> Places:
    """Wait, hop by hop, until everything is through, and count every id in every place.

    Raises:
        StalledError: a hop no longer moves.
    """
    events = plan.events
    places = Places.empty(events, bad)
    say("waiting until the cleaning has read all of events.raw")
    await group_reached(settings, STREAMS_GROUP, await raw_ends(settings), plan.stall_s)
    # What came to another partition than its source's was forwarded, and is read once more by the same group.
    await group_reached(settings, STREAMS_GROUP, await _ends(settings, topics.REKEYED), plan.stall_s)
    ends: dict[tuple[str, int], int] = {}
    clean_ends = await _read(settings, topics.CLEAN, places.clean)
    say("waiting until every clean event has its prediction")
    await group_reached(settings, SERVING_GROUP, clean_ends, plan.stall_s)
    ends |= clean_ends
    ends |= await _read(settings, topics.PREDICTIONS, places.predictions)
    ends |= await _read_dead(settings, places)
    say("waiting until ClickHouse has everything")
    warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    try:
        await tables_reached(settings, warehouse, ends, plan.stall_s)
        await _select(warehouse, "events", events, places.warehouse)
        await _select(warehouse, "predictions", events, places.warehouse_predictions)
        await _select_dead(warehouse, places.warehouse_dead)
    finally:
        await warehouse.close()
    return places


async def _read(settings: Settings, topic: Topic, copies: Copies) -> Ends:
    """Count every id of a topic; return where its partitions end."""
    ends: dict[tuple[str, int], int] = {}
    async for record in follow(settings, [topic], stop_at_end=True):
        copies.add(named.decode(record.value or b"").id)
        ends[record.topic, record.partition] = record.offset + 1
    return ends


async def _ends(settings: Settings, topic: Topic) -> Ends:
    """Return where the records of a topic's partitions end, transaction markers not counted."""
    ends: dict[tuple[str, int], int] = {}
    async for record in follow(settings, [topic], stop_at_end=True):
        ends[record.topic, record.partition] = record.offset + 1
    return ends


async def _read_dead(settings: Settings, places: Places) -> Ends:
    ends: dict[tuple[str, int], int] = {}
    async for record in follow(settings, [topics.DEAD], stop_at_end=True):
        dead = codec.decode(record.value or b"", Dead)
        places.dead.add(bad_number(dead.original))
        places.reasons[dead.reason.value] += 1
        ends[record.topic, record.partition] = record.offset + 1
    return ends


async def _select(warehouse: Warehouse, table: str, events: int, copies: Copies) -> None:
    """Count every id of a table, page by page; what is no number of this run comes in the first page."""
    for first in range(0, max(events, 1), _PAGE):
        within = "toUInt64OrZero(id) >= {first:UInt64} AND toUInt64OrZero(id) < {last:UInt64}"
        if first == 0:
            within = f"({within} OR toUInt64OrZero(id) >= {{events:UInt64}})"
        rows = await warehouse.query(
            f"SELECT id, count() AS n FROM {warehouse.database}.{table} WHERE {within} GROUP BY id",
            {"first": first, "last": first + _PAGE, "events": events},
        )
        for row in rows:
            copies.add(row["id"], int(row["n"]))


async def _select_dead(warehouse: Warehouse, copies: Copies) -> None:
    for row in await warehouse.query(f"SELECT original FROM {warehouse.database}.dead"):
        copies.add(bad_number(base64.b64decode(row["original"])))


def bad_number(original: bytes) -> str:
    """Return the number of a bad record, found in its bytes; they themselves where there is none."""
    found = _BAD.search(original)
    return (
        found[1].decode() if found else msgspec.json.encode(original[:60].decode(errors="replace")).decode()
    )
