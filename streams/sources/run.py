"""The `sources` worker: this machine's readings and its log files in, `events.raw` out.

A source runs when `headrace.toml` has a stream for it: kind `sensor` named `host`, kind `log` named `logs`.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from typing import Final

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.hot import watched
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.errors import Retryable
from schemas.record import Kind, Outgoing
from streams.sources.host import HostSource
from streams.sources.logs import LogSource
from streams.sources.positions import Positions

HOST: Final = "host"
LOGS: Final = "logs"
OWN_LOG: Final = "sources.log"
_KEPT_READINGS: Final = 600
_GIVE_UP_S: Final = 60.0
_log = get_logger(__name__)


async def run(settings: Settings, *, host_interval_s: float = 1.0, log_interval_s: float = 0.5) -> None:
    """Publish until cancelled.

    Raises:
        Retryable: Kafka has not acknowledged anything for a minute; a fresh start may.
    """
    wanted = configured(settings)
    if not wanted:
        _log.info("sources.idle", hint="define [streams.host] kind='sensor' or [streams.logs] kind='log'")
        async with watched(settings, "sources"):
            await asyncio.Event().wait()
    await create_topics(settings)
    async with Publisher(settings, "headrace-sources") as publisher, watched(settings, "sources"):
        _log.info("sources.started", sources=wanted)
        try:
            async with asyncio.TaskGroup() as group:
                if HOST in wanted:
                    group.create_task(publish_host(publisher, SystemClock(), host_interval_s))
                if LOGS in wanted:
                    group.create_task(publish_logs(settings, publisher, SystemClock(), log_interval_s))
        except* Retryable as errors:
            raise errors.exceptions[0] from None
        finally:
            _log.info("sources.stopped")


def configured(settings: Settings) -> list[str]:
    """Return which sources have a stream of their kind."""
    streams = settings.config.streams
    kinds = {HOST: Kind.SENSOR, LOGS: Kind.LOG}
    return [name for name, kind in kinds.items() if name in streams and streams[name].kind is kind]


async def publish_host(publisher: Publisher, clock: Clock, interval_s: float) -> None:
    """Publish a reading each interval; while Kafka is away the last ten minutes' are kept."""
    source = HostSource(HOST)
    kept: deque[Outgoing] = deque(maxlen=_KEPT_READINGS)
    patience = Patience("host")
    due_s = time.monotonic()
    while True:
        due_s = max(due_s + interval_s, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())
        kept.append(source.read(clock.now(), time.monotonic()))
        if await patience.publish(publisher, list(kept)):
            kept.clear()


async def publish_logs(settings: Settings, publisher: Publisher, clock: Clock, interval_s: float) -> None:
    """Publish new lines; a file's position is saved only after its lines were acknowledged."""
    positions = Positions(settings.home / "sources" / "logs.json")
    source = LogSource(LOGS, settings.home / "log", positions.load(), leave_out=[OWN_LOG])
    patience = Patience("logs")
    with closing(source):
        while True:
            records = source.poll(clock.now())
            while not await patience.publish(publisher, records):  # noqa: ASYNC110  # only a retry tells
                await asyncio.sleep(interval_s)
            positions.save(source.marks())
            await asyncio.sleep(interval_s)


class Patience:
    """Tries again what Kafka did not acknowledge; copies carry the same ids and are dropped."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._failing_since: float | None = None

    async def publish(self, publisher: Publisher, records: Sequence[Outgoing]) -> bool:
        """Tell whether the records are in Kafka.

        Raises:
            Retryable: it has failed for a minute.
        """
        try:
            await publisher.send_all(records)
        except Retryable as error:
            now = time.monotonic()
            if self._failing_since is None:
                self._failing_since = now
                _log.warning("publish.failed", source=self._source, records=len(records), error=str(error))
            if now - self._failing_since > _GIVE_UP_S:
                raise
            return False
        if self._failing_since is not None:
            _log.info(
                "publish.recovered", source=self._source, after_s=time.monotonic() - self._failing_since
            )
            self._failing_since = None
        return True
