"""A gateway without Kafka: consumes a configuration, produces the real application in front of a memory.

Everything is as it serves, the sink behind it apart: what is measured or tried is the gateway's own.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from starlette.types import ASGIApp, Message

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.settings import Endpoints, Settings, parse
from schemas.record import Coordinates, Outgoing
from serving.consumer import inference_threads
from serving.gateway.core import Gateway, Lookup
from serving.gateway.inference.engine import Inference
from serving.gateway.judge import Judge
from serving.gateway.microbatch import MicroBatcher
from serving.gateway.options import Options
from serving.gateway.shield import shielded

NO_REDIS: Final = "redis://127.0.0.1:1"
_NO_CLICKHOUSE: Final = "http://127.0.0.1:1"
STREAMS: Final = """
[streams.requests]
kind = "api"
[streams.host]
kind = "sensor"
[streams.logs]
kind = "log"
"""


class Memory:
    """Takes records as Kafka would and keeps them."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        """Keep records; each topic is one partition."""
        start = len(self.records)
        self.records += records
        return [Coordinates(record.topic, 0, start + index) for index, record in enumerate(records)]


class Answer(NamedTuple):
    """What an application answered."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


@contextlib.asynccontextmanager
async def gateway_over(
    sink: Memory,
    home: Path,
    config: str = STREAMS,
    *,
    redis: str = NO_REDIS,
    options: Options | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Gateway]:
    """Yield a gateway whose events and audit go to a memory."""
    settings = Settings(home, parse(config, "bench"), Endpoints("", redis, _NO_CLICKHOUSE))
    chosen, clock = options or Options(access_log="off"), clock or SystemClock()
    batcher = MicroBatcher(sink)
    batcher.start()
    try:
        async with (
            shielded(settings, chosen, clock, batcher, sink) as shield,
            Inference(settings, clock, inference_threads()) as inference,
        ):
            judge = Judge(settings.config.streams)
            lookup = Lookup(settings.endpoints.clickhouse, settings.config.database)
            yield Gateway(settings, chosen, clock, judge, batcher, lookup, shield, inference)
    finally:
        await batcher.stop()


async def ask(
    app: ASGIApp,
    method: str,
    path: str,
    headers: Sequence[tuple[bytes, bytes]] = (),
    chunks: Sequence[bytes] = (b"",),
    *,
    broken_off: bool = False,
) -> Answer:
    """Send one request through an application; with `broken_off` its body never ends, its client is gone."""
    coming = iter(range(len(chunks)))
    sent: list[Message] = []

    async def receive() -> Message:
        index = next(coming, None)
        if index is None:
            return {"type": "http.disconnect"}
        more = broken_off or index < len(chunks) - 1
        return {"type": "http.request", "body": chunks[index], "more_body": more}

    async def send(message: Message) -> None:
        sent.append(message)

    raw, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": list(headers),
        "client": ("203.0.113.77", 50_000),
        "server": ("127.0.0.1", 8080),
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(sent[0]["status"], dict(sent[0]["headers"]), body)
