"""The bounds of a request's head, on real connections."""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import uvicorn

from serving.gateway.app import uvicorn_config
from serving.gateway.http import Bounded
from tests.waiting import aeventually

MOST = 40
ASK = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Hasty(Bounded):
    """The same, with bounds that a test can reach."""

    max_head_bytes = 2048
    head_within_s = 0.2


async def fine(scope, receive, send):
    """An application that answers when the whole body is there."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A served application's port."""
    config = uvicorn_config(fine)
    assert config.http is Bounded
    config.http = Hasty
    config.max_connections = lambda: MOST
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        config.load()
        server.lifespan = config.lifespan_class(config)
        serving = asyncio.create_task(server.startup(sockets=[listener]))
        await serving
        yield listener.getsockname()[1]
        server.should_exit = True
        await server.shutdown(sockets=[])


async def said(port: int, *parts: bytes, end: bool = False) -> bytes:
    """Send parts, each when the loop had a turn, and return what comes until the connection closes.

    With `end`, nothing follows them, and the server is told so.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)  # so that they are read apart
        if end:
            writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 5)
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_a_head_that_does_not_end_is_refused(port: int):
    """By its size, as one header or as many; the answer says which bound it was."""
    start = b"GET / HTTP/1.1\r\nhost: x\r\n"
    for head in (start + b"a: " + b"x" * 4096, start + b"a: b\r\n" * 700, b"GET /" + b"x" * 4096):
        assert (await said(port, head[:10], head[10:1000], head[1000:])).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("part", [b"", b"G", b"GET / HTTP/1.1\r\nhost:"])
async def test_a_head_that_does_not_come_is_refused(part: bytes, port: int):
    """By its time, from the connection or the first byte on."""
    assert (await said(port, part)).startswith(b"HTTP/1.1 408")


async def test_whole_requests_are_answered_one_after_the_other(port: int):
    """A large body is no head, pieces of a head are one, and a kept connection is served again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b"x" * 10_000
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    for parts in ([ASK], [ASK[:9], ASK[9:]], [head, body[:1], body[1:]], [head + body], [ASK]):
        for part in parts:
            writer.write(part)
            await writer.drain()
        answer = await asyncio.wait_for(reader.readuntil(b"ok"), 5)
        assert answer.startswith(b"HTTP/1.1 200")
    writer.close()


async def test_rubbish_on_the_wire_is_refused_and_the_next_is_served(port: int):
    """Requests with bytes changed, added and left out: 400, an answer to what is still one, or the end."""
    source = random.Random(7)
    whole = b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nx-a: b\r\n\r\n{}"
    statuses: Counter[bytes] = Counter()
    for _ in range(150):
        broken = bytearray(whole)
        for _ in range(source.randrange(1, 6)):
            at = source.randrange(len(broken))
            broken[at : at + source.randrange(2)] = source.randbytes(source.randrange(3))
        broken = broken[: source.randrange(1, len(broken) + 1)]
        statuses[(await said(port, bytes(broken), end=True))[9:12]] += 1
    assert set(statuses) <= {b"200", b"400", b""}
    assert statuses[b"400"] > 20
    assert (await said(port, ASK.replace(b"host", b"connection: close\r\nhost"))).startswith(b"HTTP/1.1 200")


async def test_one_connection_too_many_is_told_to_come_again(port: int):
    """Beyond the bound a caller hears 503 and when to ask again; the others go on."""
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST)]
    for reader, writer in held:
        writer.write(ASK)
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    for _ in range(3):
        refused = await said(port, ASK)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in refused
    silent = await said(port)
    assert silent.startswith(b"HTTP/1.1 503 ")
    reader, writer = held[0]
    writer.write(ASK)
    assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
    for _, one in held:
        one.close()
    await asyncio.gather(*(one.wait_closed() for _, one in held))

    async def taken() -> bool:
        return (await said(port, ASK.replace(b"host", b"connection: close\r\nhost"))).startswith(
            b"HTTP/1.1 200"
        )

    await aeventually(taken)
