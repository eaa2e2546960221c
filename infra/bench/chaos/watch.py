"""Progress while it runs: consumes the output topics and ClickHouse as any client would, produces counts.

It paces the publisher and feeds the display. What the run is judged by is read anew at the end (`check`).
"""

import asyncio
from typing import Final

import msgspec

from infra.bench.chaos.copies import Copies
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse, WarehouseRefused
from schemas import topics
from schemas.errors import Retryable

_POLL_S: Final = 0.5


class Named(msgspec.Struct):
    """The one field that is read of an output."""

    id: str


named: Final = msgspec.json.Decoder(Named)


class Watch:
    """How many distinct events have come to each place."""

    def __init__(self, settings: Settings, events: int) -> None:
        self._settings = settings
        self.clean = Copies(events)
        self.predictions = Copies(events)
        self.dead = 0
        self.warehouse_events = 0
        self.warehouse_predictions = 0

    @property
    def through(self) -> int:
        """Return how many events are in every place, at least."""
        return min(
            self.clean.distinct,
            self.predictions.distinct,
            self.warehouse_events,
            self.warehouse_predictions,
        )

    def counts(self) -> dict[str, int]:
        """Return the count of each place."""
        return {
            "clean": self.clean.distinct,
            "warehouse": self.warehouse_events,
            "predictions": self.predictions.distinct,
            "warehouse predictions": self.warehouse_predictions,
            "dead": self.dead,
        }

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._poll())

    async def _follow(self) -> None:
        clean = self._settings.topic(topics.CLEAN)
        predictions = self._settings.topic(topics.PREDICTIONS)
        async for record in follow(self._settings, [topics.CLEAN, topics.PREDICTIONS, topics.DEAD]):
            if record.topic == clean:
                self.clean.add(named.decode(record.value or b"").id)
            elif record.topic == predictions:
                self.predictions.add(named.decode(record.value or b"").id)
            else:
                self.dead += 1

    async def _poll(self) -> None:
        warehouse = await Warehouse.open(self._settings.endpoints.clickhouse, self._settings.config.database)
        try:
            while True:
                try:
                    self.warehouse_events = await _rows(warehouse, "events")
                    self.warehouse_predictions = await _rows(warehouse, "predictions")
                except (Retryable, WarehouseRefused):  # the sink makes the tables when it starts
                    await asyncio.sleep(_POLL_S)
                await asyncio.sleep(_POLL_S)
        finally:
            await warehouse.close()


async def _rows(warehouse: Warehouse, table: str) -> int:
    return int((await warehouse.query(f"SELECT count() AS n FROM {warehouse.database}.{table}"))[0]["n"])
