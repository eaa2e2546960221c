"""A worker for fault tests: copies `events.raw` to `events.clean` by the engine that it is told to use.

python copy_worker.py ENGINE[-failing] BOOTSTRAP PREFIX HOME
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from aiokafka import TopicPartition

from infra.runtime import log
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.batches import run_batches
from infra.runtime.settings import Endpoints, Settings, load_config
from schemas import topics
from schemas.record import Incoming, Outgoing
from streams.engines.faust import BatchApp, run_worker


class Copy:
    """Writes every record to the same partition of `events.clean`."""

    async def assigned(self, partition: TopicPartition, position: int) -> None:
        """Keep no state."""

    async def process(self, partition: TopicPartition, records: Sequence[Incoming]) -> list[Outgoing]:
        """Copy."""
        return [
            Outgoing(topics.CLEAN.name, record.key, record.value or b"", partition.partition)
            for record in records
        ]

    async def revoked(self, partition: TopicPartition) -> None:
        """Keep no state."""


class Refuse(Copy):
    """Cannot process anything."""

    async def process(self, partition: TopicPartition, records: Sequence[Incoming]) -> list[Outgoing]:
        """Fail, as a bug would."""
        raise ZeroDivisionError("this worker cannot process anything")


def settings_for(bootstrap: str, prefix: str, home: Path) -> Settings:
    """Settings of an installation of its own on a shared broker."""
    config = load_config({}).model_copy(update={"topic_prefix": prefix})
    return Settings(home, config, Endpoints(bootstrap, "", ""))


def main() -> None:
    """Run until a signal."""
    engine, bootstrap, prefix, home = sys.argv[1:]
    engine, _, failing = engine.partition("-")
    handler = Refuse() if failing else Copy()
    log.configure("copy", json=True)
    settings = settings_for(bootstrap, prefix, Path(home))
    if engine == "plain":
        asyncio.run(
            run_batches(settings, group="copy", topics=[topics.RAW], handler=handler, max_records=500)
        )
        return
    asyncio.run(create_topics(settings))
    asyncio.set_event_loop(asyncio.new_event_loop())
    run_worker(BatchApp(settings, group="copy", topic=topics.RAW, handler=handler))


if __name__ == "__main__":
    main()
