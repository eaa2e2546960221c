"""The client of the gateway: an application's events and labels in, HTTP requests out, answers back.

    async with Client("http://127.0.0.1:8080") as client:
        receipt = await client.publish([event])
        await client.label([label])
        answer = await client.prediction(event["source"], event["id"], wait_s=5)
        inferred = await client.infer("requests", ["GET /items?id=<num>"])

A request that failed on its way is sent again: an event's copies are dropped by `(source, id)`.
"""

import asyncio
import random
import ssl
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
import msgspec

from schemas.errors import HeadraceError, Reason, Retryable
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Coordinates

Event = Mapping[str, Any] | bytes
"""A CloudEvent in structured mode: a mapping (`schemas.raw.structured` builds one), or its JSON."""

_AGAIN: Final = frozenset({408, 429, 500, 502, 503, 504})
_BATCH: Final = "application/cloudevents-batch+json"
_PATIENCE_S: Final = 30.0
"""A gateway that asks to wait longer (a day's quota is used up) is not asked again."""


class GatewayRefused(HeadraceError):
    """The gateway refused a request; `status` is HTTP's, `problem` the gateway's document."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(f"the gateway answered {status}: {problem.get('detail', '')}")
        self.status = status
        self.problem = problem


class Accepted(msgspec.Struct, frozen=True):
    """One event that Kafka has; `index` is its place in what was published."""

    index: int
    source: str
    id: str
    coordinates: Coordinates


class Refusal(msgspec.Struct, frozen=True):
    """One event or label that was refused, and why."""

    index: int
    reason: str
    field: str
    message: str


class Receipt(msgspec.Struct):
    """What became of everything that was published, in order of `index`."""

    accepted: list[Accepted] = msgspec.field(default_factory=list)
    refused: list[Refusal] = msgspec.field(default_factory=list)


class Inferred(msgspec.Struct, frozen=True):
    """A model's answers to rows, in their order, and the release that gave them."""

    model: str
    version: int
    sha256: str
    labels: list[str]
    scores: list[float]


class Retry(msgspec.Struct, frozen=True):
    """How a failed request is repeated: after `first_s`, doubled each time up to `longest_s`."""

    attempts: int = 6
    first_s: float = 0.1
    longest_s: float = 5.0


class Client:
    """An asynchronous client; use it as a context manager. It keeps its connections open.

    Args:
        url: the gateway, such as `http://127.0.0.1:8080`.
        batch: at most so many events go into one request, and `batch_bytes` bytes, roughly.
        concurrency: so many requests of one `publish` are under way at once.
        key: an API key or a token, where the gateway asks for one.
        ca: a PEM file of the issuers to believe, instead of the system's, of an `https` gateway.
    """

    def __init__(
        self,
        url: str,
        *,
        batch: int = 500,
        batch_bytes: int = 4 * 1024 * 1024,
        concurrency: int = 4,
        timeout_s: float = 30.0,
        key: str = "",
        ca: str = "",
        retry: Retry | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._batch = batch
        self._batch_bytes = batch_bytes
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._tls = ssl.create_default_context(cafile=ca) if ca else True
        self._retry = retry or Retry()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout_s),
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def publish(self, events: Iterable[Event] | AsyncIterable[Event]) -> Receipt:
        """Publish events in batches and return what became of each.

        Events of one source keep their order only within a batch; `concurrency=1` keeps it throughout.

        Raises:
            Retryable: the gateway could not be reached, or could not take them, in all attempts.
            GatewayRefused: the gateway refused a whole request, such as for its size.
        """
        receipt = Receipt()
        under_way: set[asyncio.Task[Receipt]] = set()
        try:
            async for start, batch in self._batches(events):
                if len(under_way) >= self._concurrency:
                    done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    _collect(receipt, done)
                under_way.add(asyncio.create_task(self._publish_batch(start, batch)))
            if under_way:
                done, under_way = await asyncio.wait(under_way)
                _collect(receipt, done)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
        receipt.accepted.sort(key=lambda one: one.index)
        receipt.refused.sort(key=lambda one: one.index)
        return receipt

    async def label(self, labels: Sequence[Label]) -> list[Refusal]:
        """Publish ground truth; return what was refused.

        Raises:
            Retryable: as `publish`.
            GatewayRefused: as `publish`.
        """
        refusals: list[Refusal] = []
        for start in range(0, len(labels), self._batch):
            body = msgspec.json.encode(labels[start : start + self._batch])
            status, answer = await self._request("POST", "/v1/labels", body, "application/json")
            if status != 202 and "results" not in answer:
                raise GatewayRefused(status, answer)
            refusals.extend(_refusal(start, one) for one in answer["results"])
        return refusals

    async def prediction(self, source: str, event_id: str, *, wait_s: float = 0.0) -> Prediction | None:
        """Return the newest answer for an event, waiting up to `wait_s` for one; None when there is none.

        Raises:
            Retryable: as `publish`.
            GatewayRefused: the identity is not one.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        while True:
            status, answer = await self._request(
                "GET", "/v1/predictions", params={"source": source, "id": event_id}
            )
            if status == 200:
                return msgspec.convert(answer, Prediction)
            if status != 404:
                raise GatewayRefused(status, answer)
            if loop.time() >= deadline:
                return None
            await asyncio.sleep(min(0.1, max(0.0, deadline - loop.time())))

    async def infer(
        self,
        model: str,
        rows: Sequence[str] | Sequence[Sequence[float | None]],
        *,
        version: int | None = None,
    ) -> Inferred:
        """Ask a model directly, by the Open Inference Protocol; nothing is published or stored.

        A row is a text as the table `events` has it, cleaned and masked, or readings in the order of the
        release's features, None where one is missing.

        Raises:
            Retryable: as `publish`; also while the model has no release yet.
            GatewayRefused: no such model or version, or rows that it does not take.
        """
        of_version = f"/versions/{version}" if version is not None else ""
        path = f"/v2/models/{quote(model, safe='')}{of_version}/infer"
        body = msgspec.json.encode({"inputs": [_tensor(rows)]})
        status, answer = await self._request("POST", path, body, "application/json")
        if status != 200:
            raise GatewayRefused(status, {"detail": answer.get("error", ""), **answer})
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        return Inferred(
            model=answer["model_name"],
            version=int(answer["model_version"]),
            sha256=answer["parameters"]["sha256"],
            labels=outputs["label"],
            scores=outputs["score"],
        )

    async def _batches(
        self, events: Iterable[Event] | AsyncIterable[Event]
    ) -> AsyncIterable[tuple[int, list[bytes]]]:
        """Yield the index of a batch's first event, and its events' JSON."""
        start = size = 0
        batch: list[bytes] = []
        async for event in _each(events):
            encoded = event if isinstance(event, bytes) else msgspec.json.encode(event)
            if batch and (len(batch) >= self._batch or size + len(encoded) > self._batch_bytes):
                yield start, batch
                start, size, batch = start + len(batch), 0, []
            batch.append(encoded)
            size += len(encoded)
        if batch:
            yield start, batch

    async def _publish_batch(self, start: int, batch: list[bytes]) -> Receipt:
        body = b"[" + b",".join(batch) + b"]"
        status, answer = await self._request("POST", "/v1/events", body, _BATCH)
        if status == 400 and answer.get("reason") == Reason.MALFORMED_JSON and len(batch) > 1:
            # One event that is no JSON spoils the array; each alone gets its own answer.
            alone = Receipt()
            for offset, event in enumerate(batch):
                one = await self._publish_batch(start + offset, [event])
                alone.accepted += one.accepted
                alone.refused += one.refused
            return alone
        if "results" not in answer:
            if len(batch) == 1 and "reason" in answer:
                return Receipt(refused=[_refusal(start, {"index": 0, **answer})])
            raise GatewayRefused(status, answer)
        receipt = Receipt()
        for one in answer["results"]:
            if one["status"] == 202:
                coordinates = msgspec.convert(one["coordinates"], Coordinates)
                receipt.accepted.append(Accepted(start + one["index"], one["source"], one["id"], coordinates))
            else:
                receipt.refused.append(_refusal(start, one))
        return receipt

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "",
        params: Mapping[str, str] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """Send one request, again while it fails on its way or the gateway asks for it."""
        if self._session is None:
            raise RuntimeError("use the client as a context manager: `async with Client(url) as client`")
        headers = {"content-type": content_type} if content_type else {}
        failure, asked_s = "", 0.0
        for attempt in range(self._retry.attempts):
            if attempt:
                await asyncio.sleep(max(self._pause_s(attempt), asked_s))
            try:
                async with self._session.request(
                    method, self._url + path, data=body, headers=headers, params=params
                ) as response:
                    content = await response.read()
                    if response.status not in _AGAIN:
                        return response.status, _document(content)
                    problem = _document(content)
                    failure = f"{response.status} {problem.get('detail') or problem.get('error', '')}"
                    asked_s = _retry_after_s(response.headers)
                    if asked_s > _PATIENCE_S:
                        raise Retryable(f"{self._url} asks to wait {asked_s:g} s: {failure}")
            except (aiohttp.ClientError, TimeoutError) as error:
                failure = str(error) or type(error).__name__
        raise Retryable(f"{self._url} did not take it in {self._retry.attempts} attempts: {failure}")

    def _pause_s(self, attempt: int) -> float:
        """Double the pause each time, and spread it so that many clients do not come back together."""
        longest: float = min(self._retry.longest_s, self._retry.first_s * 2 ** (attempt - 1))
        return longest * random.uniform(0.5, 1.0)


async def _each(events: Iterable[Event] | AsyncIterable[Event]) -> AsyncIterable[Event]:
    if isinstance(events, AsyncIterable):
        async for event in events:
            yield event
    else:
        for event in events:
            yield event


def _tensor(rows: Sequence[str] | Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Build the tensor of a model's rows."""
    if rows and isinstance(rows[0], str):
        return {"name": "text", "datatype": "BYTES", "shape": [len(rows)], "data": rows}
    shape = [len(rows), len(rows[0]) if rows else 0]
    return {"name": "values", "datatype": "FP64", "shape": shape, "data": rows}


def _collect(receipt: Receipt, done: Iterable[asyncio.Task[Receipt]]) -> None:
    for task in done:
        part = task.result()
        receipt.accepted += part.accepted
        receipt.refused += part.refused


def _refusal(start: int, one: Mapping[str, Any]) -> Refusal:
    return Refusal(start + one["index"], one["reason"], one.get("field", ""), one.get("detail", ""))


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Return how long the gateway asks to wait; its door says seconds, something between may say a date."""
    asked = headers.get("retry-after", "")
    return float(asked) if asked.isdecimal() else 0.0


def _document(content: bytes) -> dict[str, Any]:
    """Read an answer; whatever stands between may answer with something else than JSON."""
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.MsgspecError:
        return {"detail": content[:200].decode(errors="replace")}
