"""A load generator: so many connections in, answers counted and timed out. Plain asyncio protocols.

Each connection sends its next request when its answer is there (closed loop), so that latencies are those of
a full server.
"""

import asyncio
import time
from dataclasses import dataclass, field

from schemas.errors import Fatal


@dataclass
class Measured:
    """What one round saw."""

    seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_s: list[float] = field(default_factory=list)

    @property
    def requests_per_s(self) -> float:
        """Return answers a second."""
        return sum(self.statuses.values()) / self.seconds

    def quantile_ms(self, q: float) -> float:
        """Return a latency such that a share `q` of the answers came sooner."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] * 1000


class _Caller(asyncio.Protocol):
    """One connection: sends, waits for the whole answer, sends again."""

    def __init__(self, request: bytes, measured: Measured, until_s: float) -> None:
        self._request = request
        self._measured = measured
        self._until_s = until_s
        self._received = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # TCP gives no other
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now_s = time.perf_counter()
        status = int(head[9:12])
        self._measured.statuses[status] = self._measured.statuses.get(status, 0) + 1
        self._measured.latencies_s.append(now_s - self._sent_at)
        self._received = b""
        if now_s < self._until_s:
            self._send()
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.done.done():
            return
        if time.perf_counter() < self._until_s:
            self.done.set_exception(Fatal(f"the server closed a connection: {exc}"))
        else:
            self.done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None  # noqa: S101  # set when connected
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


def load(port: int, request: bytes, *, connections: int, seconds: float) -> Measured:
    """Send a request again and again on so many connections for so long.

    Raises:
        Fatal: the server closed a connection.
    """
    return asyncio.run(_load(port, request, connections, seconds))


async def _load(port: int, request: bytes, connections: int, seconds: float) -> Measured:
    loop = asyncio.get_running_loop()
    measured = Measured()
    began = time.perf_counter()
    made = [
        await loop.create_connection(lambda: _Caller(request, measured, began + seconds), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(caller.done for _, caller in made))
    measured.seconds = time.perf_counter() - began
    return measured
