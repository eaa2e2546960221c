"""The gateway's models: loaded as the streaming worker loads them, but only once somebody asks.

    request ─▶ admitted (rows bounded) ─▶ the version of the moment ─▶ cache, model in a thread ─▶ answers
               models.releases ─▶ load beside ─▶ take over between two requests

A request holds one version from its beginning to its end, so a swap never mixes two. What is taken over here
is logged and not written on `models.swaps`: that is the ledger of who answers events.
"""

import asyncio
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Any, Final, NamedTuple, ParamSpec, Self, TypeVar

from aiokafka.errors import KafkaError

from infra.runtime.clock import Clock
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.errors import Retryable
from serving.cache import Cache, Local, Shared, look_up
from serving.follow_releases import Models
from serving.gateway.inference.admission import Admission
from serving.gateway.inference.answering import answer
from serving.gateway.inference.tensors import Limits, Rows, Tensor, row_count, rows_of
from serving.gateway.problems import Refused
from serving.predictor import Answer
from serving.slot import Served

P = ParamSpec("P")
T = TypeVar("T")

MAX_ROWS: Final = 1024
"""Rows of one request: as many unseen texts take some seconds on two cores."""
MAX_PENDING_ROWS: Final = 4096
_MAX_WAITING: Final = 64
"""Requests that may wait for the models to be loaded."""
_SWAP_EVERY_S: Final = 0.5
_HOP_MS: Final = 0.3
"""What the way to a thread and back costs, about: shorter work is done where it comes up."""
_READ_MS: Final = 0.005
"""What reading a row from its tensor takes, about."""
_log = get_logger(__name__)


class Answered(NamedTuple):
    """What a request is answered, and by which version."""

    served: Served
    answers: list[Answer]


class Entry(NamedTuple):
    """One model of the index; `served` is None, and `reason` says why, while nothing serves."""

    name: str
    served: Served | None
    reason: str


class Inference:
    """The models that `headrace.toml` names, by name. Use it as a context manager."""

    def __init__(self, settings: Settings, clock: Clock, threads: int) -> None:
        """Prepare for models that `threads` rows are answered by at once; nothing is loaded."""
        self._settings = settings
        self._clock = clock
        self._max_text_bytes: Mapping[str, int] = {
            stream.model.name or name: stream.clean.max_bytes
            for name, stream in settings.config.streams.items()
            if stream.model is not None
        }
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="gateway-inference")
        # Requests wait here and not in the event loop, which a thread that is done would have to wait for.
        self._asking = ThreadPoolExecutor(threads, thread_name_prefix="gateway-asking")
        self._admission = Admission(MAX_PENDING_ROWS)
        self._cache = Cache(Local(), Shared(settings.endpoints.redis, prefix=settings.config.topic_prefix))
        self._models: Models | None = None
        self._starting: asyncio.Task[Models] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._problem = ""
        self._waiting = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks: list[asyncio.Task[Any]] = [task for task in (self._starting, self._keeping) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._cache.close()
        for pool in (self._asking, self._pool):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def started(self) -> bool:
        """Tell whether anybody asked for a model yet, and the models are loaded."""
        return self._models is not None

    @property
    def ready(self) -> bool:
        """Tell whether a model would answer at once: they are loaded, or nobody asked for one yet."""
        return self._models is not None or (self._starting is None and not self._problem)

    async def served(self, name: str, version: str = "") -> Served:
        """Return what answers for a model now; the first call loads the models.

        Raises:
            Refused: 404 for an unknown model or a version that does not serve; 503 while it has no release,
                or the releases cannot be read.
        """
        if name not in self._max_text_bytes:
            known = ", ".join(self._max_text_bytes) or "none"
            raise Refused(404, f"no model is called {name[:80]!r}; headrace.toml names: {known}")
        models = await self._loaded()
        models.take_over(dict)
        served = models.current(name)
        if served is None:
            raise Refused(503, f"model {name!r} has no release that may serve yet")
        if version not in {"", str(served.release.version)}:
            now = f"version {served.release.version} does"
            raise Refused(404, f"version {version[:20]!r} of model {name!r} does not serve; {now}")
        return served

    async def infer(self, name: str, version: str, inputs: Sequence[Tensor]) -> Answered:
        """Answer a request's rows, as the streaming worker answers the same texts and readings.

        Raises:
            Refused: 400 or 413 for what the model does not take, 404 and 503 as `served`, 503 too when too
                much waits already.
        """
        served = await self.served(name, version)
        limits = Limits(MAX_ROWS, self._max_text_bytes[name])
        count = row_count(served.predictor, inputs, limits)
        rows = await self._brief(count * _READ_MS, rows_of, served.predictor, inputs[0], limits)
        return Answered(served, await self._answers(served, rows))

    async def index(self) -> list[Entry]:
        """Return every model with what serves of it.

        Raises:
            Refused: 503, the releases cannot be read.
        """
        models = await self._loaded()
        models.take_over(dict)
        entries = []
        for name in self._max_text_bytes:
            served = models.current(name)
            entries.append(Entry(name, served, "" if served else "no release that may serve yet"))
        return entries

    async def _answers(self, served: Served, rows: Rows) -> list[Answer]:
        """Answer texts from the cache where it knows them, the rest by the model."""
        if not isinstance(rows, list):
            return await self._asked(served, rows)
        wanted, known, unseen = await look_up(self._cache, served.release.sha256, rows)
        if unseen:
            fresh = dict(zip(unseen, await self._asked(served, list(unseen.values())), strict=True))
            self._cache.put(fresh)
            known.update(fresh)
        return [known[key] for key in wanted]

    async def _asked(self, served: Served, rows: Rows) -> list[Answer]:
        """Ask the model, in the order in which requests came.

        Raises:
            Refused: as `answer`; 503 when too much waits already.
        """
        with self._admission.admitted(len(rows)):
            return await self._brief(served.answer_ms * len(rows), answer, served, rows)

    async def _brief(self, takes_ms: float, work: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
        """Do work at once if it is shorter than the way to a thread and back, else in a thread."""
        if takes_ms < _HOP_MS:
            return work(*args, **named)
        return await asyncio.get_running_loop().run_in_executor(self._asking, partial(work, *args, **named))

    async def _loaded(self) -> Models:
        """Return the models, loading them when asked for the first time, or again after that failed."""
        if self._models is not None:
            return self._models
        if self._starting is None:
            self._starting = asyncio.create_task(self._start(), name="gateway-models")
        if self._waiting >= _MAX_WAITING:
            raise Refused(503, "the models are being loaded, and many wait for that already")
        self._waiting += 1
        try:
            # Shielded: who gives up waiting does not end it for the others.
            return await asyncio.shield(self._starting)
        except (Retryable, KafkaError) as error:
            raise Refused(503, f"the releases cannot be read: {error}") from error
        finally:
            self._waiting -= 1

    async def _start(self) -> Models:
        worker = f"{platform.node()}/{os.getpid()}/gateway"
        models = Models(self._settings, self._pool, clock=self._clock, worker=worker)
        try:
            await models.restore()
        except Exception as error:
            self._problem = str(error) or type(error).__name__
            raise
        finally:
            self._starting = None
        self._models, self._problem = models, ""
        self._keeping = asyncio.create_task(self._keep(models), name="gateway-models")
        return models

    async def _keep(self, models: Models) -> None:
        """Follow the releases until cancelled; what breaks that makes the next request load anew."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(models.follow())
                group.create_task(models.forget_reports())
                group.create_task(_swap(models))
        except Exception:  # noqa: BLE001  # whatever it was: the next request begins again
            _log.exception("releases.lost")
            self._models = None


async def _swap(models: Models) -> None:
    """Let a candidate take over when nobody asks, so that it does not lie beside the model it replaces."""
    while True:
        await asyncio.sleep(_SWAP_EVERY_S)
        models.take_over(dict)
