"""What is selectable, over time: consumes answers of ClickHouse, produces sightings.

A sighting is the moment at which an answer came back, and the highest offset of each partition in it. Offsets
of a partition become visible in order (a partition's table is a prefix of it, infra/decisions/0004), so an
event is selectable at the latest at the first sighting whose offset is not below its own. That bounds the
latency of **every** event from above, by one probe (at most `EVERY_S` and two queries) too much; percentiles
are over events, never over probes. A row count, which ClickHouse keeps in memory, is asked for at each
probe; the offsets only when it has changed. So the probing costs about a tenth of a core.
"""

import asyncio
import time
from contextlib import suppress
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import aiohttp

from infra.bench.ingest.plan import STREAM
from schemas.errors import Retryable

EVERY_S: Final = 0.05


class Sighting(NamedTuple):
    """At `at_s` (seconds since 1970) a count was `rows`, and each partition reached its offset in `ends`."""

    at_s: float
    rows: int
    ends: dict[int, int]


class Probe:
    """Asks ClickHouse over HTTP; a context manager that holds the connection."""

    def __init__(self, endpoint: str, database: str, topic: str) -> None:
        parts = urlsplit(endpoint)
        self._url = f"http://{parts.hostname}:{parts.port}/"
        self._auth = aiohttp.BasicAuth(parts.username or "default", parts.password or "")
        self._table = f"{database}.events"
        self._topic = topic
        self.sightings: list[Sighting] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auth=self._auth, timeout=aiohttp.ClientTimeout(total=60))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, sql: str) -> bytes:
        """Return a query's answer as ClickHouse writes it.

        Raises:
            Retryable: it has none, or an error.
        """
        try:
            async with self._session.post(self._url, data=sql) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Retryable(f"ClickHouse did not answer: {error!r}") from error
        if answer.status != 200:
            raise Retryable(f"ClickHouse: {body.decode(errors='replace')[:300]}")
        return body

    async def rows(self) -> int:
        """Return the number of rows in the table; 0 when there is no table yet."""
        with suppress(Retryable):
            return int(await self.ask(f"SELECT count() FROM {self._table}"))
        return 0

    async def watch(self) -> None:
        """Note sightings until cancelled."""
        seen = -1
        while True:
            began = time.monotonic()
            rows = await self.rows()
            if rows != seen:
                seen = rows
                ends = await self._ends()
                self.sightings.append(Sighting(time.time(), rows, ends))
            await asyncio.sleep(max(0.0, began + EVERY_S - time.monotonic()))

    async def counts(self) -> tuple[int, int, int]:
        """Return rows, different ids and different coordinates of the measured stream."""
        answer = await self.ask(
            f"SELECT count(), uniqExact(id), uniqExact(_partition, _offset) FROM {self._table} "
            f"WHERE stream = '{STREAM}'"
        )
        rows, ids, places = (int(field) for field in answer.split())
        return rows, ids, places

    async def times(self, partition: int, from_us: int, to_us: int) -> bytes:
        """Return offset and time (µs since 1970) of events published in a span, as pairs of int64."""
        return await self.ask(
            f"SELECT _offset, toUnixTimestamp64Micro(time) FROM {self._table} WHERE stream = '{STREAM}' "
            f"AND _partition = {partition} AND time >= fromUnixTimestamp64Micro({from_us}, 'UTC') "
            f"AND time < fromUnixTimestamp64Micro({to_us}, 'UTC') FORMAT RowBinary"
        )

    async def _ends(self) -> dict[int, int]:
        answer = await self.ask(
            f"SELECT _partition, max(_offset) FROM {self._table} WHERE _topic = '{self._topic}' "
            "GROUP BY _topic, _partition SETTINGS max_threads = 1"
        )
        return {int(p): int(end) for p, end in (line.split() for line in answer.splitlines())}
