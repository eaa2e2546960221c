"""The load: consumes requests as bytes, produces each answer's latency; a closed loop over one epoll.

Every connection has one request under way and sends the next when the answer is complete, so the concurrency
is the number of connections. Requests are made beforehand and answers are only looked at for their length and
status, which costs some tens of microseconds a request, the same for every server.
"""

import gc
import re
import select
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infra.local.errors import StackError
from infra.local.ports import LOOPBACK

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_SILENT_S: Final = 20.0
_KEPT: Final = 64


@dataclass
class Load:
    """What was answered in time: milliseconds each, failures, and the first answers with their row."""

    seconds: float
    ms: list[float] = field(default_factory=list)
    failed: int = 0
    failure: bytes = b""
    kept: list[tuple[int, bytes]] = field(default_factory=list)
    sent: int = 0

    @property
    def requests_per_s(self) -> float:
        """Return answers a second."""
        return len(self.ms) / self.seconds

    def quantile_ms(self, q: float) -> float:
        """Return a latency such that a share `q` of the answers came sooner."""
        ordered = sorted(self.ms)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def request(path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Return one HTTP/1.1 request with a JSON body."""
    sent = {
        "host": LOOPBACK,
        "content-type": "application/json",
        **(headers or {}),
        "content-length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def complete(answer: bytes) -> int:
    """Return where the body of an answer begins if all of it is there, else 0."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    length = _LENGTH.search(answer, 0, end)
    if length is not None:
        return end + 4 if len(answer) >= end + 4 + int(length[1]) else 0
    if _CHUNKED.search(answer, 0, end) is None:
        raise StackError(f"an answer of unknown length: {answer[:end]!r}")
    return end + 4 if answer.endswith(b"\r\n0\r\n\r\n") else 0


class _Connection:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((LOOPBACK, port), timeout=_SILENT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent_ns = 0
        self.row = 0
        self.answer = b""

    def send(self, payload: bytes, row: int) -> None:
        self.row, self.answer = row, b""
        self.sent_ns = time.perf_counter_ns()
        self.socket.sendall(payload)

    def receive(self) -> int:
        """Take what came; return where the body begins once the answer is complete.

        Raises:
            StackError: the server closed the connection in the middle of an answer.
        """
        came = self.socket.recv(65536)
        if not came:
            raise StackError(f"the server closed a connection that was to be kept: {self.answer[:300]!r}")
        self.answer = self.answer + came if self.answer else came
        return complete(self.answer)


def drive(port: int, requests: Sequence[bytes], start: int, concurrency: int, seconds: float) -> Load:
    """Send requests from number `start` on, around and around, for so long; later answers do not count.

    Raises:
        StackError: the server closed a connection, said nothing for 20 s, or answered nothing well.
    """
    load = Load(seconds)
    connections = [_Connection(port) for _ in range(concurrency)]
    poll = select.epoll()
    by_number = {connection.socket.fileno(): connection for connection in connections}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    gc.disable()
    try:
        _loop(load, poll, by_number, requests, start)
    finally:
        gc.enable()
        poll.close()
        for connection in connections:
            connection.socket.close()
    if not load.ms:
        raise StackError(f"none of {load.sent} requests was answered well: {load.failure[:600]!r}")
    return load


def _loop(
    load: Load, poll: select.epoll, by_number: dict[int, _Connection], requests: Sequence[bytes], start: int
) -> None:
    row, size = start, len(requests)
    for connection in by_number.values():
        connection.send(requests[row % size], row % size)
        row += 1
    under_way = len(by_number)
    deadline_ns = time.perf_counter_ns() + int(load.seconds * 1e9)
    while under_way:
        ready = poll.poll(_SILENT_S)
        if not ready:
            raise StackError(f"the server said nothing for {_SILENT_S:.0f} s")
        for number, _ in ready:
            connection = by_number[number]
            body = connection.receive()
            if not body:
                continue
            now_ns = time.perf_counter_ns()
            if now_ns < deadline_ns:
                _note(load, connection, body, now_ns)
                connection.send(requests[row % size], row % size)
                row += 1
            else:
                under_way -= 1
    load.sent = row - start


def _note(load: Load, connection: _Connection, body: int, now_ns: int) -> None:
    answer = connection.answer
    if answer[9:12] != b"200":
        load.failed += 1
        load.failure = answer
        return
    load.ms.append((now_ns - connection.sent_ns) / 1e6)
    if len(load.kept) < _KEPT:
        load.kept.append((connection.row, answer[body:]))
