"""The end of a run: consumes the groups' offsets and the tables' ends, produces the wait for all of it.

Complete counts prove nothing about doubles: a copy may still be on its way. So the run is over only when each
group has read its whole input, hop by hop in the events' order.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from infra.bench.chaos.system import StalledError
from infra.runtime.kafka.follow import partitions_of
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse, WarehouseRefused
from schemas import topics
from schemas.errors import Retryable
from schemas.topics import Topic
from streams.sink.rows import TABLES

_LOOK_S: Final = 0.5

Ends = Mapping[tuple[str, int], int]
"""By topic and partition: the offset after the last record."""


class Progress:
    """Notices when a state does not change any more."""

    def __init__(self, stall_s: float, where: Callable[[], str]) -> None:
        self._stall_s = stall_s
        self._where = where
        self._last: Any = None
        self._since = time.monotonic()

    def see(self, state: Any) -> None:
        """Compare with the last state.

        Raises:
            StalledError: it has been the same for too long.
        """
        now = time.monotonic()
        if state != self._last:
            self._last, self._since = state, now
        elif now - self._since > self._stall_s:
            raise StalledError(f"nothing moved for {self._stall_s:.0f} s: {self._where()}")


async def raw_ends(settings: Settings, topic: Topic = topics.RAW) -> dict[tuple[str, int], int]:
    """Return where a topic ends that no transaction writes to."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.endpoints.kafka)
    async with connected(consumer):
        ends = await consumer.end_offsets(await partitions_of(settings, [topic]))
    return {(place.topic, place.partition): end for place, end in ends.items()}


async def group_reached(settings: Settings, group: str, ends: Ends, stall_s: float) -> None:
    """Wait until a group has committed every end.

    Raises:
        StalledError: its offsets no longer move.
    """
    name = settings.config.topic_prefix + group
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.endpoints.kafka, client_id="headrace-chaos")
    async with connected(admin):

        async def behind() -> dict[tuple[str, int], int]:
            places = [TopicPartition(*place) for place in ends]
            committed = await admin.list_consumer_group_offsets(name, partitions=places)
            offsets = {place: committed[TopicPartition(*place)].offset for place in ends}
            return {
                place: end - max(0, offsets[place]) for place, end in ends.items() if offsets[place] < end
            }

        await _caught_up(f"the group {name}", behind, stall_s)


async def tables_reached(settings: Settings, warehouse: Warehouse, ends: Ends, stall_s: float) -> None:
    """Wait until every partition's last record is in its table.

    Raises:
        StalledError: the tables no longer grow.
    """
    prefix = settings.config.topic_prefix

    async def behind() -> dict[tuple[str, int], int]:
        left = {}
        for (topic, partition), end in ends.items():
            table = TABLES[topic.removeprefix(prefix)]
            highest = await _highest(warehouse, table, topic, partition)
            if highest + 1 < end:
                left[topic, partition] = end - highest - 1
        return left

    await _caught_up("the sink", behind, stall_s)


async def _caught_up(
    who: str, behind: Callable[[], Awaitable[dict[tuple[str, int], int]]], stall_s: float
) -> None:
    left: dict[tuple[str, int], int] = {}

    def where() -> str:
        places = ", ".join(f"{topic}[{number}] by {lag:,}" for (topic, number), lag in left.items())
        return f"{who} is behind on {places}"

    progress = Progress(stall_s, where)
    while left := await behind():
        progress.see(left)
        await asyncio.sleep(_LOOK_S)


async def _highest(warehouse: Warehouse, table: str, topic: str, partition: int) -> int:
    try:
        rows = await warehouse.query(
            f"SELECT max(_offset) AS last, count() AS n FROM {warehouse.database}.{table} "
            "WHERE _topic = {topic:String} AND _partition = {partition:Int32}",
            {"topic": topic, "partition": partition},
        )
    except (Retryable, WarehouseRefused):  # it is away, or the table is not made yet
        return -1
    return int(rows[0]["last"]) if int(rows[0]["n"]) else -1
