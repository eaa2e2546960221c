"""The demo's client: consumes a feed, produces HTTP requests to the gateway, and records on Kafka.

Front-ends differ as they do in life: most send one structured CloudEvent a request, partners use binary
mode, the app sends batches. What the gateway acknowledged is written to the ledger.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Self

import aiohttp
import msgspec

from infra.demo.feed import BadRecord, Event, Feed, Item, Malformed, Truth
from infra.demo.ledger import Ledger, Sent
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from schemas import topics
from schemas.raw import event_type, structured
from schemas.record import Identity, Outgoing

_log = get_logger(__name__)

_STRUCTURED: Final = "application/cloudevents+json"
_BATCH: Final = "application/cloudevents-batch+json"
_ACCEPTED: Final = 202
_TICK_S: Final = 0.02
_CONNECTIONS: Final = 8
_BATCH_EVENTS: Final = 50
_ATTEMPTS: Final = 6
_LABELS_PER_REQUEST: Final = 500
_BATCHING_SOURCES: Final = frozenset({"shop-ios"})
_BINARY_SOURCES: Final = frozenset({"shop-partners"})
_MAX_NOTED: Final = 20


class Sender:
    """Plays feeds against the gateway; a context manager that holds the connections.

    `batches` sends every event in batches (fast replays); else only the sources that do so by nature.
    """

    def __init__(self, gateway: str, publisher: Publisher, ledger: Ledger, *, batches: bool = False) -> None:
        self._gateway = gateway
        self._publisher = publisher
        self._ledger = ledger
        self._batches = batches
        self._queue: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()
        self._workers: list[asyncio.Task[None]] = []
        self._started_at = 0.0
        self.phase = ""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=15),
        )
        self._workers = [asyncio.create_task(self._work()) for _ in range(_CONNECTIONS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._session.close()

    async def play(self, feed: Feed) -> None:
        """Send each item when it is due, until the feed is exhausted or this is cancelled."""
        started = time.monotonic()
        self._started_at = time.time()
        while not feed.exhausted:
            self._dispatch(feed.take(time.monotonic() - started))
            await asyncio.sleep(_TICK_S)

    async def finish(self, feed: Feed, patience_s: float = 5.0) -> None:
        """Send what the feed still owes, at its time or after `patience_s`; wait for all answers."""
        deadline = time.time() + patience_s
        for item in feed.pending():
            wait_s = min(self._started_at + item.due_s, deadline) - time.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            self._dispatch([item])
        await self._queue.join()

    @property
    def backlog(self) -> int:
        """Requests that are due and wait for a connection."""
        return self._queue.qsize()

    def _dispatch(self, items: Sequence[Item]) -> None:
        """Turn items into requests; events that travel together share one."""
        batch: list[Event] = []
        labels: list[Truth] = []
        for item in items:
            match item:
                case Event():
                    self._note(item)
                    if self._batches or item.identity.source in _BATCHING_SOURCES:
                        batch.append(item)
                    else:
                        self._enqueue(partial(self._single, item))
                case Truth():
                    labels.append(item)
                case Malformed():
                    self._enqueue(partial(self._malformed, item))
                case BadRecord():
                    self._enqueue(partial(self._bad_record, item))
        for start in range(0, len(batch), _BATCH_EVENTS):
            self._enqueue(partial(self._several, batch[start : start + _BATCH_EVENTS]))
        for start in range(0, len(labels), _LABELS_PER_REQUEST):
            self._enqueue(partial(self._labels, labels[start : start + _LABELS_PER_REQUEST]))

    def _enqueue(self, send: Callable[[], Awaitable[None]]) -> None:
        self._queue.put_nowait(send)

    async def _work(self) -> None:
        while True:
            send = await self._queue.get()
            try:
                await send()
            except Exception as error:  # noqa: BLE001  # one request's failure is noted; the others go on
                self._ledger.failures[type(error).__name__] += 1
                _log.warning("demo.request_failed", error=repr(error))
            finally:
                self._queue.task_done()

    def _note(self, event: Event) -> None:
        """Open the event's entry. The time is when it was due to be sent, not when a connection came free."""
        self._ledger.messages += 1
        if event.copy:
            self._ledger.copies_sent += 1
        if event.identity not in self._ledger.events:
            self._ledger.events[event.identity] = Sent(
                stream=event.stream,
                label=event.label,
                phase=self.phase,
                sent_at=time.time(),
                occurred_at=self._time(event),
            )

    async def _single(self, event: Event) -> None:
        if event.identity.source in _BINARY_SOURCES:
            headers = {
                "content-type": "application/json",
                "ce-specversion": "1.0",
                "ce-id": event.identity.id,
                "ce-source": event.identity.source,
                "ce-type": event_type(event.kind),
                "ce-time": self._time(event).isoformat(),
                "ce-stream": event.stream,
            }
            body = msgspec.json.encode(event.data)
        else:
            headers = {"content-type": _STRUCTURED}
            body = msgspec.json.encode(self._cloudevent(event))
        self._settle([event.identity], *await self._post("/v1/events", body, headers))

    async def _several(self, events: Sequence[Event]) -> None:
        body = msgspec.json.encode([self._cloudevent(event) for event in events])
        answer = await self._post("/v1/events", body, {"content-type": _BATCH})
        self._settle([event.identity for event in events], *answer)

    async def _malformed(self, item: Malformed) -> None:
        self._ledger.messages += 1
        self._ledger.malformed_sent += 1
        status, answer = await self._post("/v1/events", item.body, {"content-type": item.content_type})
        if 400 <= status < 500:
            reason = _reason(answer, status)
            self._ledger.rejected_http[reason] += 1
            if reason != item.reason.value:
                self._surprise(f"gateway said {reason} where {item.reason.value} was expected")
        else:
            self._surprise(f"gateway answered {status} to a request that is {item.reason.value}")

    async def _bad_record(self, item: BadRecord) -> None:
        self._ledger.messages += 1
        self._ledger.bad_records_sent[item.reason.value] += 1
        headers = [("content-type", f"{_STRUCTURED}; charset=utf-8".encode())]
        await self._publisher.send(Outgoing(topics.RAW.name, item.key, item.value or b""), headers=headers)

    async def _labels(self, truths: Sequence[Truth]) -> None:
        now = datetime.now(UTC)
        body = msgspec.json.encode(
            [
                {
                    "stream": truth.stream,
                    "source": truth.identity.source,
                    "id": truth.identity.id,
                    "label": truth.label,
                    "labelled_at": now,
                    "by": "demo",
                }
                for truth in truths
            ]
        )
        status, answer = await self._post("/v1/labels", body, {"content-type": "application/json"})
        if status >= 300:
            self._surprise(f"gateway answered {status} to labels: {answer}")
            return
        self._ledger.labels_sent += len(truths)
        for truth in truths:
            known = self._ledger.events.get(truth.identity)
            if known is not None:
                known.label_sent_at = now.timestamp()

    async def _post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        """Post until the gateway gives a final answer; else the same request is sent again."""
        pause_s = 0.1
        for attempt in range(_ATTEMPTS):
            begun = time.perf_counter()
            self._ledger.requests += 1
            try:
                async with self._session.post(self._gateway + path, data=body, headers=headers) as response:
                    text = await response.read()
                    if response.status not in (429, 502, 503, 504):
                        self._ledger.answer_ms.append((time.perf_counter() - begun) * 1000)
                        return response.status, _json(text)
                    self._ledger.failures[str(response.status)] += 1
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._ledger.failures[type(error).__name__] += 1
                if attempt == _ATTEMPTS - 1:
                    raise
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, 2.0)
        return 503, None

    def _settle(self, identities: Sequence[Identity], status: int, answer: Any) -> None:
        """Book the answer to a request; a batch has a result for each of its events."""
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list) or len(results) != len(identities):
            results = [{**(answer if isinstance(answer, dict) else {}), "status": status}] * len(identities)
        for identity, result in zip(identities, results, strict=True):
            entry = self._ledger.events[identity]
            if result["status"] == _ACCEPTED:
                entry.acknowledgements += 1
            else:
                entry.refused = _reason(result, result["status"])
                self._surprise(f"gateway answered {result['status']} {entry.refused} to a good event")

    def _surprise(self, words: str) -> None:
        if len(self._ledger.unexpected) < _MAX_NOTED:
            self._ledger.unexpected.append(words)

    def _cloudevent(self, event: Event) -> dict[str, Any]:
        source, event_id = event.identity
        moment = self._time(event).isoformat()
        return structured(event_id, source, event.kind, event.data, time=moment, stream=event.stream)

    def _time(self, event: Event) -> datetime:
        return datetime.fromtimestamp(self._started_at + event.occurred_s, UTC)


def _json(text: bytes) -> Any:
    with suppress(msgspec.DecodeError):  # an answer that is no JSON has no reason in it
        return msgspec.json.decode(text)
    return None


def _reason(answer: Any, status: int) -> str:
    """Return the reason code in a refusal, else its HTTP status."""
    reason = answer.get("reason") if isinstance(answer, dict) else None
    return reason if isinstance(reason, str) and reason else f"http_{status}"
