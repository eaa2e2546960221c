"""The demo's eyes: consumes Headrace's output topics and ClickHouse, keeps what it saw and when.

It is a client like any other: a read-committed consumer without a group, and SQL. What it times is
therefore what any application would see.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import msgspec

from infra.demo.figures import Answer
from infra.demo.memory import tree_rss_bytes
from infra.runtime.kafka.follow import follow
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse, WarehouseRefused
from schemas import codec, topics
from schemas.dead import Dead
from schemas.drift import DriftAlert
from schemas.errors import Rejected, Retryable
from schemas.prediction import Prediction
from schemas.record import Identity, Incoming
from schemas.release import Release, State, Swap, Transition
from streams.drift.levels import DriftLevel, StreamLevels, decode_levels, level_key

_log = get_logger(__name__)

_WAREHOUSE_POLL_S: Final = 0.1
_SECOND_S: Final = 1.0
_FOLLOWED: Final = (
    topics.PREDICTIONS,
    topics.ALERTS,
    topics.RELEASES,
    topics.SWAPS,
    topics.LOOP,
    topics.DEAD,
)

Told = Callable[[str, Any], None]


class Watch:
    """Follows one stream closely, and what happens to the models of all.

    `told` is called with a name and a record at each alert, release, swap and transition of any stream.
    """

    def __init__(self, settings: Settings, stream: str) -> None:
        self._settings = settings
        self._stream = stream
        self.told: Told = _unheard
        self.answers: dict[Identity, Answer] = {}
        self.answered_times: Counter[Identity] = Counter()
        self.alerts: list[DriftAlert] = []
        self.releases: list[Release] = []
        self.rejected_candidates: list[Release] = []
        self.swaps: list[Swap] = []
        self.transitions: list[Transition] = []
        self.dead: Counter[str] = Counter()
        self.dead_by_stage: Counter[str] = Counter()
        self.selectable_at: dict[Identity, float] = {}
        self.rows_by_stream: dict[str, int] = {}
        self.predictions_by_stream: Counter[str] = Counter()
        self.drift_levels: list[tuple[float, DriftLevel]] = []
        self.levels: StreamLevels | None = None
        self.peak_rss_bytes = 0
        self.rss_bytes = 0
        self.errors: Counter[str] = Counter()

    async def run(self) -> None:
        """Watch until cancelled; an error of Kafka, ClickHouse or Redis is counted and tried again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._poll_warehouse())
            group.create_task(self._repeat(_SECOND_S, self._weigh))
            group.create_task(self._watch_drift())

    async def warehouse_counts(self) -> Counter[Identity]:
        """Return how often each id of the stream is in ClickHouse's `events`."""
        warehouse = await self._open()
        try:
            rows = await warehouse.query(
                "SELECT source, id, count() AS n FROM events "
                "WHERE stream = {stream:String} GROUP BY source, id",
                {"stream": self._stream},
            )
        finally:
            await warehouse.close()
        return Counter({Identity(row["source"], row["id"]): int(row["n"]) for row in rows})

    async def prediction_counts(self) -> Counter[Identity]:
        """Read `predictions` from its beginning to its present end and count each id of the stream."""
        counts: Counter[Identity] = Counter()
        async for record in follow(self._settings, [topics.PREDICTIONS], stop_at_end=True):
            prediction = codec.decode(record.value or b"", Prediction)
            if prediction.stream == self._stream:
                counts[Identity(prediction.source, prediction.id)] += 1
        return counts

    async def _follow(self) -> None:
        async for record in follow(self._settings, _FOLLOWED):
            try:
                self._take(record)
            except Rejected as error:
                self.errors[f"{record.topic}: {error.reason.value}"] += 1

    def _take(self, record: Incoming) -> None:
        """File one record by its topic."""
        name = record.topic.removeprefix(self._settings.config.topic_prefix)
        if not record.value:
            return
        if name == topics.PREDICTIONS.name:
            self._take_prediction(record, codec.decode(record.value, Prediction))
        elif name == topics.DEAD.name:
            dead = codec.decode(record.value, Dead)
            self.dead[dead.reason.value] += 1
            self.dead_by_stage[dead.stage] += 1
        elif name == topics.ALERTS.name:
            alert = codec.decode(record.value, DriftAlert)
            self.alerts.append(alert)
            self.told("alert", alert)
        elif name == topics.RELEASES.name:
            release = codec.decode(record.value, Release)
            (self.releases if release.state is State.RELEASED else self.rejected_candidates).append(release)
            self.told("release", release)
        elif name == topics.SWAPS.name:
            swap = codec.decode(record.value, Swap)
            self.swaps.append(swap)
            self.told("swap", swap)
        elif name == topics.LOOP.name:
            transition = codec.decode(record.value, Transition)
            self.transitions.append(transition)
            self.told("transition", transition)

    def _take_prediction(self, record: Incoming, prediction: Prediction) -> None:
        self.predictions_by_stream[prediction.stream] += 1
        if prediction.stream != self._stream:
            return
        identity = Identity(prediction.source, prediction.id)
        self.answered_times[identity] += 1
        if identity not in self.answers:
            self.answers[identity] = Answer(prediction, time.time(), record.partition, record.offset)

    async def _open(self) -> Warehouse:
        return await Warehouse.open(self._settings.endpoints.clickhouse, self._settings.config.database)

    async def _poll_warehouse(self) -> None:
        """Ask for the stream's new rows all the time: a row is selectable when a query returned it.

        The time between two polls counts as latency, so the figure errs on the slow side.
        """
        warehouse = await self._open()
        reached: dict[int, int] = {}
        polls = 0
        try:
            while True:
                try:
                    await self._poll_once(warehouse, reached)
                    if polls % 10 == 0:
                        rows = await warehouse.query(
                            "SELECT stream, count() AS n FROM events GROUP BY stream"
                        )
                        self.rows_by_stream = {row["stream"]: int(row["n"]) for row in rows}
                    polls += 1
                except (Retryable, WarehouseRefused) as error:
                    # The sink creates the tables when it starts; until then there is nothing to select.
                    self.errors[type(error).__name__] += 1
                    await asyncio.sleep(_SECOND_S)
                await asyncio.sleep(_WAREHOUSE_POLL_S)
        finally:
            await warehouse.close()

    async def _poll_once(self, warehouse: Warehouse, reached: dict[int, int]) -> None:
        """Select the rows beyond the offsets reached in each partition; rows of a partition come in order."""
        known = [
            f"(_partition = {partition} AND _offset > {offset})" for partition, offset in reached.items()
        ]
        unknown = f"_partition NOT IN ({', '.join(map(str, reached))})" if reached else "1"
        rows = await warehouse.query(
            "SELECT source, id, _partition, _offset FROM events "
            f"WHERE stream = {{stream:String}} AND ({' OR '.join([*known, unknown])})",
            {"stream": self._stream},
        )
        now = time.time()
        for row in rows:
            self.selectable_at.setdefault(Identity(row["source"], row["id"]), now)
            partition = int(row["_partition"])
            reached[partition] = max(reached.get(partition, -1), int(row["_offset"]))

    async def _watch_drift(self) -> None:
        """Read how near the drift watch is to its threshold, which it publishes for displays."""
        from redis.asyncio import Redis
        from redis.exceptions import RedisError

        key = level_key(self._settings.config.topic_prefix, self._stream)
        async with Redis.from_url(self._settings.endpoints.redis) as cache:
            while True:
                with suppress(RedisError):  # shown again when Redis answers again
                    found = await cache.get(key)
                    if found:
                        self._take_drift(found)
                await asyncio.sleep(_SECOND_S)

    def _take_drift(self, found: bytes) -> None:
        try:
            self.levels = decode_levels(found)
        except msgspec.MsgspecError:
            self.errors["drift levels are no such record"] += 1
            return
        level = nearest(self.levels)
        if level is not None:
            self.drift_levels.append((time.time(), level))

    async def _weigh(self) -> None:
        self.rss_bytes = await asyncio.to_thread(tree_rss_bytes)
        self.peak_rss_bytes = max(self.peak_rss_bytes, self.rss_bytes)

    async def _repeat(self, every_s: float, work: Callable[[], Any]) -> None:
        while True:
            await work()
            await asyncio.sleep(every_s)


def _unheard(_: str, __: Any) -> None:
    """Stand in where nobody wants to be told."""


def nearest(levels: StreamLevels | None) -> DriftLevel | None:
    """Return the signal nearest to its threshold, of those that have seen enough if there are any."""
    if levels is None or not levels.levels:
        return None
    return max(levels.levels, key=lambda level: (level.readiness >= 1, level.nearness))
