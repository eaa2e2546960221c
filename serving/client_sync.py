"""The client of the gateway for code without an event loop: `serving.client`, one call after the other.

with SyncClient("http://127.0.0.1:8080") as client:
    receipt = client.publish([event])
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from schemas.label import Label
from schemas.prediction import Prediction
from serving.client import Client, Event, Inferred, Receipt, Refusal

T = TypeVar("T")


class SyncClient:
    """The same client for code without an event loop; it runs one in a thread of its own."""

    def __init__(self, url: str, **options: Any) -> None:
        self._client = Client(url, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="headrace-client", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._client.__aexit__(kind, error, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def publish(self, events: Iterable[Event]) -> Receipt:
        """Publish events; see `Client.publish`."""
        return self._run(self._client.publish(events))

    def label(self, labels: Sequence[Label]) -> list[Refusal]:
        """Publish ground truth; see `Client.label`."""
        return self._run(self._client.label(labels))

    def prediction(self, source: str, event_id: str, *, wait_s: float = 0.0) -> Prediction | None:
        """Return the newest answer for an event; see `Client.prediction`."""
        return self._run(self._client.prediction(source, event_id, wait_s=wait_s))

    def infer(
        self,
        model: str,
        rows: Sequence[str] | Sequence[Sequence[float | None]],
        *,
        version: int | None = None,
    ) -> Inferred:
        """Ask a model directly; see `Client.infer`."""
        return self._run(self._client.infer(model, rows, version=version))

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()
