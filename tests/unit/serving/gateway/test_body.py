"""Bodies: bounded in size and time, and whoever else cancels the reader is heard."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request

from schemas.gateway import Limits
from serving.gateway import body
from serving.gateway.body import Overdue, read_body
from serving.gateway.problems import Refused

Receive = Callable[[], Awaitable[dict[str, Any]]]


def request(receive: Receive, *headers: tuple[bytes, bytes]) -> Request:
    """Return a request whose body comes by `receive`."""
    return Request({"type": "http", "method": "POST", "path": "/", "headers": list(headers)}, receive)


def in_chunks(*chunks: bytes) -> Receive:
    """Return chunks one after the other, then that the client is gone."""
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]
    coming = iter([*messages, {"type": "http.disconnect"}])

    async def receive() -> dict[str, Any]:
        return next(coming)

    return receive


async def never() -> dict[str, Any]:
    """Wait for a chunk that does not come."""
    await asyncio.Event().wait()
    raise AssertionError


async def test_chunks_are_one_body():
    """However it comes, the body is the same; an empty one is one too."""
    for chunks in ([b"abc"], [b"a", b"", b"bc"], [b"", b"abc"]):
        assert await read_body(request(in_chunks(*chunks)), Limits(), Overdue()) == b"abc"
    assert await read_body(request(in_chunks(b"")), Limits(), Overdue()) == b""


@pytest.mark.parametrize(
    ("receive", "headers", "status"),
    [
        (in_chunks(b"x"), [(b"content-length", b"1025")], 413),
        (in_chunks(b"x" * 600, b"x" * 425, b""), [], 413),
        (in_chunks(b"x"), [(b"content-encoding", b"gzip")], 415),
        (in_chunks(), [], 400),
    ],
)
async def test_what_is_refused(receive: Receive, headers: list[tuple[bytes, bytes]], status: int):
    """Too large, as declared or as it came; compressed; broken off."""
    with pytest.raises(Refused) as refused:
        await read_body(request(receive, *headers), Limits(max_body_bytes=1024), Overdue())
    assert refused.value.status == status


async def test_a_slow_body_is_a_408_for_its_own_request_alone(monkeypatch: pytest.MonkeyPatch):
    """One timer looks after all: the slow one is ended, one with more time is not."""
    monkeypatch.setattr(body, "_LOOK_EVERY_S", 0.005)
    overdue = Overdue()
    slow = asyncio.create_task(read_body(request(never), Limits(body_timeout=0.01), overdue))
    patient = asyncio.create_task(read_body(request(never), Limits(body_timeout=60), overdue))
    with pytest.raises(Refused, match=r"within 0\.01 s") as refused:
        await slow
    assert refused.value.status == 408
    assert not patient.done()
    patient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patient


async def test_another_cancellation_is_not_taken_for_slowness():
    """A reader that is cancelled from elsewhere ends cancelled, and is watched no longer."""
    overdue = Overdue()
    reading = asyncio.create_task(read_body(request(never), Limits(body_timeout=60), overdue))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not overdue.ended(reading)
