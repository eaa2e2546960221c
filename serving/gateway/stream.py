"""`GET /v1/predictions/stream`: follows `predictions`, read committed, as server-sent events.

    id: 0:1208,1:97        the next offset of each partition: what `Last-Event-ID` goes on from
    data: {"stream": …}    the prediction

Each connection reads Kafka by itself and only as fast as its client takes events, so a slow one holds nothing
up and fills no memory; one that takes nothing for a while is let go, and can go on from its last id.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Final

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from infra.runtime.kafka.follow import partitions_of
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas import topics
from schemas.record import Incoming
from serving.gateway.core import gateway_of
from serving.gateway.open_streams import Streams
from serving.gateway.problems import Refused

_HEARTBEAT_S: Final = 10.0
_SLOW_S: Final = 30.0
_LIFE_S: Final = 900.0
"""After so long a stream ends; the client comes back with its last id, and its key is checked again."""
_POLL_MS: Final = 500
_MAX_RECORDS: Final = 200
_ID: Final = re.compile(r"\d{1,5}:\d{1,18}(,\d{1,5}:\d{1,18}){0,999}")
_log = get_logger(__name__)


class Wanted(msgspec.Struct, frozen=True):
    """Which predictions a client asks for: of one stream, of one source, or all of them."""

    stream: str = ""
    source: str = ""

    def has(self, value: bytes) -> bool:
        """Tell whether a record is among them; what is no prediction is not."""
        try:
            found = msgspec.json.decode(value, type=Wanted)
        except msgspec.DecodeError:
            return False
        return self.stream in {"", found.stream} and self.source in {"", found.source}


async def get_stream(request: Request) -> Response:
    """Stream predictions from now on, or from `Last-Event-ID` on; `?stream=…&source=…` choose among them."""
    gateway = gateway_of(request)
    gateway.streams.check_room()
    wanted = Wanted(request.query_params.get("stream", ""), request.query_params.get("source", ""))
    if wanted.stream and wanted.stream not in gateway.settings.config.streams:
        known = ", ".join(gateway.settings.config.streams)
        raise Refused(404, f"no stream is called {wanted.stream[:80]!r}; there are: {known}", field="stream")
    start = offsets_of(request.headers.get("last-event-id", ""))
    return EventStream(gateway.settings, gateway.streams, wanted, start)


def offsets_of(text: str) -> dict[int, int]:
    """Read an id: the next offset by partition; empty where there is none.

    Raises:
        Refused: 400, it is no id of ours.
    """
    if not text:
        return {}
    if not text.isascii() or _ID.fullmatch(text) is None:
        raise Refused(
            400, "Last-Event-ID is no id of this stream, such as 0:1208,1:97", field="last-event-id"
        )
    return {
        int(partition): int(offset) for partition, _, offset in (p.partition(":") for p in text.split(","))
    }


def event(positions: Mapping[int, int], value: bytes | None) -> bytes:
    """Encode an event; without a value a heartbeat, which carries the id alone."""
    at = ",".join(f"{partition}:{offset}" for partition, offset in sorted(positions.items()))
    if value is None:
        return f": heartbeat\nid: {at}\n\n".encode()
    return b"id: %s\ndata: %s\n\n" % (at.encode(), b"\ndata: ".join(value.splitlines()))


class EventStream(Response):
    """The response: ends when its client goes, takes nothing for too long, or the gateway stops."""

    def __init__(
        self, settings: Settings, streams: Streams, wanted: Wanted, start: Mapping[int, int]
    ) -> None:
        super().__init__(media_type="text/event-stream")
        self._settings = settings
        self._streams = streams
        self._wanted = wanted
        self._start = start
        self._ends_at = time.monotonic() + _LIFE_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with self._streams.one():
            work = [
                asyncio.create_task(self._follow(send)),
                asyncio.create_task(_gone(receive)),
                asyncio.create_task(self._streams.ended()),
            ]
            try:
                await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in work:
                    task.cancel()
                outcomes = await asyncio.gather(*work, return_exceptions=True)
        error = outcomes[0]
        if isinstance(error, Exception):
            _log.warning("stream.broken", error=str(error) or type(error).__name__)
        if not isinstance(error, TimeoutError):  # else the connection is cut, for nothing goes through it
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, send: Send) -> None:
        """Send what comes until the stream has lived long enough.

        Raises:
            TimeoutError: the client takes nothing.
            Retryable, KafkaError: the topic is not there, or the broker is away.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.endpoints.kafka,
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=_POLL_MS,
        )
        async with connected(consumer):
            partitions = await partitions_of(self._settings, [topics.PREDICTIONS])
            positions = await self._seek(consumer, partitions)
            await _sent(send, event(positions, None))
            heard = time.monotonic()
            while time.monotonic() < self._ends_at:
                fetched = await consumer.getmany(timeout_ms=_POLL_MS, max_records=_MAX_RECORDS)
                chunk = self._events(positions, [one for records in fetched.values() for one in records])
                if not fetched:
                    # Nothing is in hand: what was skipped, transaction markers too, is behind for good.
                    positions = {tp.partition: await consumer.position(tp) for tp in partitions}
                if not chunk and time.monotonic() - heard > _HEARTBEAT_S:
                    chunk = event(positions, None)
                if chunk:
                    await _sent(send, chunk)
                    heard = time.monotonic()

    async def _seek(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> dict[int, int]:
        """Go to where the client was, or to the end; return the positions. A new partition is read whole."""
        consumer.assign(partitions)
        if not self._start:
            await consumer.seek_to_end(*partitions)
        for partition in partitions:
            if self._start:
                consumer.seek(partition, self._start.get(partition.partition, 0))
        return {tp.partition: await consumer.position(tp) for tp in partitions}

    def _events(self, positions: dict[int, int], records: list[Incoming]) -> bytes:
        chunk = []
        for record in records:
            positions[record.partition] = record.offset + 1
            if record.value is not None and self._wanted.has(record.value):
                chunk.append(event(positions, record.value))
        return b"".join(chunk)


async def _sent(send: Send, chunk: bytes) -> None:
    """Send, and give up on a client that takes nothing."""
    async with asyncio.timeout(_SLOW_S):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Wait until the client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
