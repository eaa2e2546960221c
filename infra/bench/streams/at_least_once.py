"""The `streams` worker with a lesser promise, to show what exactly once costs: same input, same outputs.

Everything but the commit is the product's own. Outputs go through idempotent producers without transactions;
the offsets of what they acknowledged are committed at most 100 ms apart. It exists for this benchmark alone,
so that the product keeps one promise.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer, TopicPartition
from faust.types import TP

from infra.runtime import log
from infra.runtime import settings as runtime
from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.fill import MAX_BATCH_BYTES
from infra.runtime.kafka.transactions import Transactions
from infra.runtime.settings import Settings
from schemas.record import Outgoing
from streams.apps.clean import GROUP, clean_app, prepare
from streams.engines.faust import BatchApp, run_worker

COMMIT_EVERY_S: Final = 0.1


class AtLeastOnce(Transactions):
    """Stands in the transactions' place: sends, waits for the acknowledgements, commits at intervals."""

    def __init__(self, settings: Settings, group: str, app: BatchApp) -> None:
        super().__init__(settings, group)
        self._app = app
        self._done: dict[TopicPartition, int] = {}
        self._committing: asyncio.Task[None] | None = None

    async def take_over(
        self, lane: TopicPartition, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Read where to go on, as the product does, then put a plain idempotent producer in its place."""
        positions = await super().take_over(lane, partitions)
        await super().release(lane)
        self._producers[lane] = producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            enable_idempotence=True,
            acks="all",
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=2 * MAX_BATCH_BYTES,
            linger_ms=0,
        )
        await lifecycle.start(producer)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_at_intervals())
        return positions

    async def commit(
        self, lane: TopicPartition, outputs: Sequence[Outgoing], offsets: Mapping[TopicPartition, int]
    ) -> None:
        """Send the outputs; the offsets follow with the next commit."""
        await self._send(self._producers[lane], outputs)
        self._done.update(offsets)

    async def stop(self) -> None:
        if self._committing is not None:
            self._committing.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # our own, of the line above
                await self._committing
        await super().stop()

    async def _commit_at_intervals(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            done, self._done = self._done, {}
            if done:
                # Only the group's own consumer may commit while it is a member, and Faust keeps it to itself.
                thread: Any = self._app.consumer._thread  # type: ignore[attr-defined]  # noqa: SLF001
                await thread.commit({TP(*partition): offset for partition, offset in done.items()})


def main() -> None:
    """Run the worker until a signal."""
    log.configure("streams")
    settings = runtime.load()
    home = asyncio.run(prepare(settings))
    asyncio.set_event_loop(asyncio.new_event_loop())
    app = clean_app(settings, home)
    app.exactly_once._transactions = AtLeastOnce(settings, GROUP, app)  # noqa: SLF001  # the one difference
    run_worker(app)


if __name__ == "__main__":
    main()
