"""A request's body, within its limits of size and time.

`asyncio.timeout` puts a timer on the event loop's heap and takes it off again, for a body that mostly has
come already; here one timer looks after all that are being read.
"""

import asyncio
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request

from schemas.gateway import Limits
from serving.gateway.problems import Refused

_LOOK_EVERY_S: Final = 0.1


class Overdue:
    """Ends tasks that take too long, to a tenth of a second."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Task[Any], float] = {}
        self._ended: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, within_s: float) -> asyncio.Task[Any]:
        """Watch over the current task from here on, and return it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine runs in a task
        loop = task.get_loop()
        self._due[task] = loop.time() + within_s
        if self._timer is None:
            self._timer = loop.call_later(_LOOK_EVERY_S, self._look, loop)
        return task

    def end(self, task: asyncio.Task[Any]) -> None:
        """Leave a task alone."""
        self._due.pop(task, None)
        self._ended.discard(task)

    def ended(self, task: asyncio.Task[Any]) -> bool:
        """Tell whether a task that was cancelled was so for this alone, and take that back."""
        return task in self._ended and task.uncancel() == 0

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for task in [task for task, due_s in self._due.items() if due_s <= now_s]:
            del self._due[task]
            self._ended.add(task)
            task.cancel()
        self._timer = loop.call_later(_LOOK_EVERY_S, self._look, loop) if self._due else None


async def read_body(request: Request, limits: Limits, overdue: Overdue) -> bytes:
    """Read a request's body.

    Raises:
        Refused: 413 too large, 408 too slow, 415 compressed, 400 broken off.
    """
    for name, value in request.scope["headers"]:
        if name == b"content-encoding" and value.lower() != b"identity":
            raise Refused(415, "compressed bodies are not supported", field="content-encoding")
        if name == b"content-length" and value.isdigit() and int(value) > limits.max_body_bytes:
            raise _too_large(limits)
    task = overdue.begin(limits.body_timeout)
    try:
        return await _chunks(request, limits)
    except asyncio.CancelledError:
        if overdue.ended(task):
            raise Refused(408, f"the body did not arrive within {limits.body_timeout:g} s") from None
        raise
    except ClientDisconnect as error:
        raise Refused(400, "the connection closed before the body was complete") from error
    finally:
        overdue.end(task)


async def _chunks(request: Request, limits: Limits) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size > limits.max_body_bytes:
            raise _too_large(limits)
        if not chunks and not more:
            return bytes(chunk)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(limits: Limits) -> Refused:
    return Refused(
        413, f"the body is larger than {limits.max_body_bytes} bytes", reason="oversized", field=""
    )
