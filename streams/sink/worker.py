"""The `sink` worker: consumes every topic that has a contract, and fills the tables of ClickHouse.

Round by round: fetch what came, insert each partition's records as one insert (`feed`), all partitions at
once, ask each table once whether they are there, then fetch again. An insert costs ClickHouse about the same
for one row as for a thousand, and a merge later, so a round lasts `REST` times as long as its inserts took,
within `ROUND_S` and `LONGEST_ROUND_S`: on an idle machine rows are there at once, on a busy one more of them
share an insert. A round that fetched all it may is followed by the next at once. While ClickHouse is slow or
away nothing is fetched. Kafka's offsets are committed for the lag to be seen, and never read: the tables know
where to go on (infra/decisions/0004-exactly-once-in-clickhouse.md).

The round gathers, so the broker must not: it answers a fetch as soon as it has anything. What it answered
early in a round's rest lies ready at its end; what came since takes one more fetch, which `_fetch` waits for
rather than leave these records to the round after.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from infra.clickhouse.migrate import migrate
from infra.runtime import metrics
from infra.runtime.clock import SystemClock
from infra.runtime.control import Valve, opened_valve
from infra.runtime.hot import watched
from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse
from schemas.config import Headrace
from schemas.control import Stage
from schemas.errors import Fatal, Reason, Rejected
from schemas.record import Incoming
from schemas.topics import Topic
from streams.operators.dead_letter import dead_letter
from streams.sink.feed import BadRows, Begun, Feed, highest, persistently
from streams.sink.rows import TABLES, TOPICS, validate

GROUP: Final = "headrace-sink"
ROUND_S: Final = 0.1
LONGEST_ROUND_S: Final = 0.3
REST: Final = 1.0
IDLE_MS: Final = 100
FRESH_MS: Final = 10
"""How long a fetch may take that finds what came since the one before; where nothing came it is in vain."""

COMMIT_EVERY_S: Final = 1.0

_log = get_logger(__name__)


@dataclass
class _Taken:
    """One partition's share of a round: the records that keep their contract, and what became of them."""

    place: TopicPartition
    feed: Feed
    records: list[Incoming]
    end: int
    insert: Begun | None = None
    refusal: BadRows | None = None


class Sink(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """A group member that writes its partitions' records into their tables."""

    def __init__(
        self, settings: Settings, warehouse: Warehouse, publisher: Publisher, valve: Valve | None = None
    ) -> None:
        self._group = settings.config.topic_prefix + GROUP
        self._valve = valve
        self._warehouse = warehouse
        self._publisher = publisher
        self._clock = SystemClock()
        self._topics: dict[str, Topic] = {settings.topic(topic): topic for topic in TOPICS}
        self._feeds: dict[TopicPartition, Feed] = {}
        self._in_hand = asyncio.Lock()
        self._committed_at = 0.0
        self._most = settings.config.batches.store
        self.rows = 0
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.endpoints.kafka,
            group_id=self._group,
            client_id=GROUP,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=10_000,
            heartbeat_interval_ms=1_000,
            max_poll_interval_ms=300_000,
            fetch_min_bytes=1,
            fetch_max_wait_ms=500,
            max_partition_fetch_bytes=4 * 1024 * 1024,  # held twice, as records and as rows
        )

    def take(self, config: Headrace) -> None:
        """Go on by other settings."""
        self._most = config.batches.store

    async def run(self) -> None:
        """Write until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            await lifecycle.start(self.consumer)
            self.consumer.subscribe(list(self._topics), listener=self)
            while True:
                started = loop.time()
                async with self._in_hand:
                    await self._locate()
                fetched = await self._fetch()
                began = loop.time()
                async with self._in_hand:
                    await self._take_all(fetched)
                await self._commit(loop.time())
                if sum(map(len, fetched.values())) < self._most:
                    round_s = min(max(ROUND_S, REST * (loop.time() - began)), LONGEST_ROUND_S)
                    await asyncio.sleep(max(0.0, started + round_s - loop.time()))
        finally:
            await lifecycle.stop(self.consumer)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Wait for the inserts in hand, then forget the partitions."""
        async with self._in_hand:
            for place in revoked:
                self._feeds.pop(place, None)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Note the partitions; where each goes on is asked of its table before anything is written."""
        for place in assigned:
            table = TABLES[self._topics[place.topic].name]
            self._feeds[place] = Feed(self._warehouse, table, place.topic, place.partition)

    async def _locate(self) -> None:
        """Seek every new partition to where its table ends."""
        new = [place for place, feed in self._feeds.items() if feed.last is None]
        if not new:
            return
        ends = await self.consumer.end_offsets(new)
        for place in new:
            position = await self._feeds[place].locate()
            if position > ends[place]:
                raise Fatal(
                    f"the warehouse holds {place.topic}[{place.partition}] up to {position - 1}, the topic "
                    f"ends at {ends[place]}: it was made anew; set another topic_prefix or database"
                )
            self._seek(place, position)
            _log.info("sink.assigned", topic=place.topic, partition=place.partition, position=position)

    async def _fetch(self) -> dict[TopicPartition, list[Any]]:
        """Return what lies ready, and what came since it was fetched."""
        metrics.observe_lag(self.consumer, self._group)
        if self._valve is not None:
            self._valve.apply(self.consumer)
        fetched: dict[TopicPartition, list[Any]] = await self.consumer.getmany(
            timeout_ms=IDLE_MS, max_records=self._most
        )
        room = self._most - sum(map(len, fetched.values()))
        if fetched and room > 0:
            more = await self.consumer.getmany(timeout_ms=FRESH_MS, max_records=room)
            for place, records in more.items():
                fetched.setdefault(place, []).extend(records)
        return fetched

    async def _take_all(self, fetched: dict[TopicPartition, list[Any]]) -> None:
        """Write every partition's records: all inserts side by side, then one question to each table."""
        async with asyncio.TaskGroup() as group:
            rounds = [group.create_task(self._begin(place, records)) for place, records in fetched.items()]
        begun = [taken for task in rounds if (taken := task.result()) is not None]
        ends: dict[str, dict[int, int]] = {}
        for topic in {taken.place.topic for taken in begun if taken.insert is not None}:
            ends[topic] = await persistently(partial(self._ends, topic))
        async with asyncio.TaskGroup() as group:
            for taken in begun:
                group.create_task(self._finish(taken, ends.get(taken.place.topic, {})))

    async def _ends(self, topic: str) -> dict[int, int]:
        return await highest(self._warehouse, TABLES[self._topics[topic].name], topic)

    async def _begin(self, place: TopicPartition, records: Sequence[Any]) -> "_Taken | None":
        """Insert one partition's fetched records; None if they are not this member's any more."""
        feed = self._feeds.get(place)
        if feed is None or feed.last is None:
            return None
        position = feed.position
        fresh = [r for r in records if r.offset >= position and r.value is not None]  # a tombstone is no row
        sound = await self._validated(fresh, self._topics[place.topic])
        taken = _Taken(place, feed, sound, records[-1].offset + 1)
        if sound:
            try:
                taken.insert = await feed.begin(sound)
            except BadRows as error:
                taken.refusal = error
        return taken

    async def _finish(self, taken: "_Taken", ends: dict[int, int]) -> None:
        """See whether the rows are in the table, and note where to go on."""
        feed = taken.feed
        written = not taken.records
        if taken.refusal is not None:
            written = await self._without_bad_rows(feed, taken.records, taken.refusal)
        elif taken.insert is not None:
            try:
                written = await feed.finish(taken.insert, ends.get(taken.place.partition, -1))
                self._written(feed, len(taken.records) if written else 0)
            except BadRows as error:
                written = await self._without_bad_rows(feed, taken.records, error)
        if written:
            feed.position = max(feed.position, taken.end)
        else:
            self._seek(taken.place, feed.position)

    async def _write(self, feed: Feed, records: Sequence[Incoming]) -> bool:
        try:
            written = await feed.write(records)
        except BadRows as error:
            return await self._without_bad_rows(feed, records, error)
        self._written(feed, len(records) if written else 0)
        return written

    def _written(self, feed: Feed, rows: int) -> None:
        self.rows += rows
        metrics.count_rows(feed.table, rows)

    async def _without_bad_rows(self, feed: Feed, records: Sequence[Incoming], refusal: BadRows) -> bool:
        """Halve what ClickHouse refused until the row is found that it cannot store; bury it alone."""
        if len(records) == 1:
            await self._bury(records[0], Rejected(Reason.POISON, f"ClickHouse refuses it: {refusal}"[:600]))
            return True
        middle = len(records) // 2
        return await self._write(feed, records[:middle]) and await self._write(feed, records[middle:])

    async def _validated(self, records: Sequence[Incoming], topic: Topic) -> list[Incoming]:
        """Return the records that keep their contract; the others go to `events.dead`."""
        sound = []
        for record in records:
            try:
                validate(record, topic)
            except Rejected as rejected:
                await self._bury(record, rejected)
            else:
                sound.append(record)
        return sound

    async def _bury(self, record: Incoming, rejected: Rejected) -> None:
        letter = dead_letter(record, rejected, self._clock.now(), stage="sink")
        await persistently(lambda: self._publisher.send(letter))
        metrics.count_buried(TABLES[self._topics[record.topic].name], rejected.reason.value)
        _log.warning(
            "record.rejected", topic=record.topic, offset=record.offset, reason=rejected.reason.value
        )

    def _seek(self, place: TopicPartition, position: int) -> None:
        if place in self.consumer.assignment():
            self.consumer.seek(place, position)

    async def _commit(self, now_s: float) -> None:
        """Show the group's progress; failing to is no loss, for nobody starts from it."""
        if now_s - self._committed_at < COMMIT_EVERY_S:
            return
        self._committed_at = now_s
        owned = self.consumer.assignment()
        positions = {p: f.position for p, f in self._feeds.items() if f.last is not None and p in owned}
        if positions:
            try:
                await self.consumer.commit(positions)
            except KafkaError as error:
                _log.debug("commit.failed", error=str(error))


async def run(settings: Settings) -> None:
    """Apply the migrations, then fill the tables until cancelled."""
    await create_topics(settings)
    warehouse = await persistently(
        lambda: Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    )
    try:
        await persistently(lambda: migrate(warehouse))
        async with (
            Publisher(settings, GROUP) as publisher,
            opened_valve(settings, Stage.SINK) as valve,
        ):
            sink = Sink(settings, warehouse, publisher, valve)
            async with watched(settings, "sink", sink.take):
                await sink.run()
    finally:
        await warehouse.close()
