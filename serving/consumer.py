"""The streaming inference worker: `events.clean` in, exactly one answer each on `predictions` out.

    batch ─▶ decode ─▶ per model: cache ─▶ unseen rows: model ─▶ predictions + swap ledger, as one
                                 models.releases ─▶ load beside ─▶ take over between two rounds of batches

A row that the model cannot answer twice goes to `events.dead`; the others of its batch go on.
"""

import asyncio
import os
import platform
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from aiokafka import TopicPartition

from infra.runtime import metrics
from infra.runtime.clock import Clock, SystemClock
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.batches import run_batches
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas import codec, topics
from schemas.clean import Clean
from schemas.control import Stage
from schemas.dead import Dead
from schemas.errors import Fatal, Reason, Rejected, Retryable
from schemas.prediction import Prediction
from schemas.record import Coordinates, Incoming, Outgoing
from serving.cache import Cache, Local, Shared, keys
from serving.follow_releases import ANSWERED, Models, outgoing
from serving.predictor import Answer, Row
from serving.slot import Served, verify_alive

_log = get_logger(__name__)
GROUP: Final = "serving"
STAGE: Final = "serving"
MAX_ROWS: Final = 64
"""Rows of one transaction: 64 unseen texts cost a quarter of a second on two cores."""


class Event(NamedTuple):
    """A decoded record and its model."""

    record: Incoming
    clean: Clean
    served: Served


class Judged(NamedTuple):
    """What came out for one event: an answer, or why there is none."""

    answer: Answer | None
    cached: bool
    inference_ms: float
    problem: str = ""


class Serving:
    """The batch handler: judges one partition's records with the models of the moment."""

    def __init__(self, settings: Settings, models: Models, cache: Cache, *, clock: Clock) -> None:
        self._models = models
        self._cache = cache
        self._clock = clock
        self._model_of = {
            name: stream.model.name or name
            for name, stream in settings.config.streams.items()
            if stream.model is not None
        }
        self._positions: dict[TopicPartition, int] = {}
        self._ledger: dict[tuple[TopicPartition, str], str] = {}
        self._unserved: defaultdict[str, int] = defaultdict(int)

    async def assigned(self, partition: TopicPartition, position: int) -> None:
        """Start the partition's ledger anew: another worker may have answered with another version."""
        self._forget(partition)
        self._positions[partition] = position

    async def revoked(self, partition: TopicPartition) -> None:
        """Forget the partition."""
        self._forget(partition)

    async def between_batches(self) -> None:
        """Let loaded candidates take over: no batch is in hand, so none mixes two versions."""
        self._models.take_over(self.positions)

    def positions(self) -> dict[str, int]:
        """Return the next offset of each owned partition, by `topic:partition`."""
        return {f"{tp.topic}:{tp.partition}": position for tp, position in self._positions.items()}

    async def process(self, partition: TopicPartition, records: Sequence[Incoming]) -> Sequence[Outgoing]:
        """Return the predictions of a batch in its order, with the ledger's entries before them.

        Raises:
            Retryable: a model no longer answers what it must; nothing of the batch is lost.
        """
        outputs: list[Outgoing] = []
        events = [event for record in records if (event := self._event(record, outputs)) is not None]
        by_model: defaultdict[str, list[int]] = defaultdict(list)
        for index, event in enumerate(events):
            by_model[event.served.release.model].append(index)
        judged: dict[int, Judged] = {}
        for model, indices in by_model.items():
            served = events[indices[0]].served
            clean = [events[index].clean for index in indices]
            judged.update(zip(indices, await self._judge(served, clean), strict=True))
            answered = [judged[index] for index in indices]
            metrics.count_predictions(model, sum(one.answer is not None for one in answered))
            metrics.count_cache_hits(model, sum(one.cached for one in answered))
            outputs.extend(self._enter(partition, model, events[indices[0]]))
        for index, event in enumerate(events):
            outputs.append(self._output(event, judged[index]))
        self._positions[partition] = records[-1].offset + 1
        return outputs

    def _event(self, record: Incoming, outputs: list[Outgoing]) -> Event | None:
        """Decode a record and find its model; without one the event gets no prediction."""
        try:
            clean = codec.decode(record.value or b"", Clean)
        except Rejected as error:
            outputs.append(self._dead(record, error, None))
            return None
        model = self._model_of.get(clean.stream)
        served = self._models.current(model) if model is not None else None
        if served is None:
            if model is not None and not self._unserved[clean.stream]:
                _log.info("stream.unserved", stream=clean.stream, model=model, reason="no release yet")
            self._unserved[clean.stream] += 1
            return None
        return Event(record, clean, served)

    async def _judge(self, served: Served, events: Sequence[Clean]) -> list[Judged]:
        """Answer events of one model: texts from the cache where it knows them, the rest by the model."""
        if served.predictor.family != "text":
            return await asyncio.to_thread(judge, served, [event.values for event in events])
        texts = [event.text for event in events]
        wanted = keys(served.release.sha256, texts)
        known = await self._cache.get(wanted)
        unseen = {key: text for key, text in zip(wanted, texts, strict=True) if key not in known}
        if not unseen:
            return [Judged(known[key], cached=True, inference_ms=0.0) for key in wanted]
        fresh = dict(zip(unseen, await asyncio.to_thread(judge, served, list(unseen.values())), strict=True))
        self._cache.put({key: one.answer for key, one in fresh.items() if one.answer is not None})
        answered: set[bytes] = set()
        judged = []
        for key in wanted:
            one = fresh.get(key) or Judged(known[key], cached=True, inference_ms=0.0)
            if key in answered:  # a copy of a text that this very batch asked the model for
                one = one._replace(cached=one.answer is not None, inference_ms=0.0)
            answered.add(key)
            judged.append(one)
        return judged

    def _enter(self, partition: TopicPartition, model: str, first: Event) -> list[Outgoing]:
        """Write into the ledger that a version answers from this event on, if that is new."""
        release = first.served.release
        if self._ledger.get((partition, model)) == release.sha256:
            return []
        self._ledger[partition, model] = release.sha256
        offsets = {f"{partition.topic}:{partition.partition}": first.record.offset}
        swap = self._models.swap(release, ANSWERED, offsets, load_ms=first.served.load_ms)
        return [outgoing(swap)]

    def _output(self, event: Event, judged: Judged) -> Outgoing:
        record, clean, release = event.record, event.clean, event.served.release
        if judged.answer is None:
            return self._dead(record, Rejected(Reason.POISON, judged.problem), clean)
        prediction = Prediction(
            stream=clean.stream,
            source=clean.source,
            id=clean.id,
            event=Coordinates(record.topic, record.partition, record.offset),
            raw=clean.raw,
            event_time=clean.time,
            label=judged.answer.label,
            score=judged.answer.score,
            model=release.model,
            version=release.version,
            sha256=release.sha256,
            cached=judged.cached,
            predicted_at=self._clock.now(),
            inference_ms=judged.inference_ms,
            tolerance=event.served.predictor.tolerance,
        )
        return Outgoing(topics.PREDICTIONS.name, clean.source.encode(), codec.encode(prediction))

    def _dead(self, record: Incoming, error: Rejected, clean: Clean | None) -> Outgoing:
        here = Coordinates(record.topic, record.partition, record.offset)
        dead = Dead(
            reason=error.reason,
            message=error.message,
            field=error.field,
            stage=STAGE,
            raw=clean.raw if clean else here,
            rejected_at=self._clock.now(),
            stream=clean.stream if clean else "",
            source=clean.source if clean else "",
            id=clean.id if clean else "",
            key=record.key,
            original=record.value or b"",
            headers=tuple((name, value) for name, value in record.headers),
        )
        _log.warning(
            "event.rejected", stage=STAGE, offset=record.offset, reason=error.reason, error=error.message
        )
        return Outgoing(topics.DEAD.name, record.key, codec.encode(dead))

    def _forget(self, partition: TopicPartition) -> None:
        self._positions.pop(partition, None)
        for entry in [entry for entry in self._ledger if entry[0] == partition]:
            del self._ledger[entry]


def judge(served: Served, rows: Sequence[Row]) -> list[Judged]:
    """Answer rows with a model, those that fail once more and alone. Blocks.

    Raises:
        Retryable: no row is to blame: memory ran out, or the model fails its golden inputs too.
    """
    began = time.perf_counter()
    try:
        answers = served.predictor.predict(rows)
    except MemoryError as error:
        raise Retryable(f"memory ran out while {served.release.model} answered") from error
    except Exception as error:  # noqa: BLE001 – whatever a row does to a model, it is that row's fate alone
        _log.warning("batch.failed", model=served.release.model, rows=len(rows), error=str(error))
        judged = [_alone(served, row) for row in rows]
        if any(one.answer is None for one in judged):
            verify_alive(served)
        return judged
    took_s = time.perf_counter() - began
    metrics.observe_inference(served.release.model, len(rows), took_s)
    each_ms = round(took_s * 1000 / len(rows), 3)
    return [Judged(answer, cached=False, inference_ms=each_ms) for answer in answers]


def _alone(served: Served, row: Row) -> Judged:
    began = time.perf_counter()
    try:
        answer = served.predictor.predict([row])[0]
    except MemoryError as error:
        raise Retryable(f"memory ran out while {served.release.model} answered") from error
    except Exception as error:  # noqa: BLE001 – the same: the reason goes with the event to `events.dead`
        return Judged(None, cached=False, inference_ms=0.0, problem=f"the model cannot answer it: {error}")
    return Judged(answer, cached=False, inference_ms=round((time.perf_counter() - began) * 1000, 3))


async def run(settings: Settings) -> None:
    """Serve until cancelled: load the champions first, then answer, following the releases."""
    clock = SystemClock()
    threads = inference_threads()
    worker = f"{platform.node()}/{os.getpid()}"
    cache = Cache(Local(), Shared(settings.endpoints.redis, prefix=settings.config.topic_prefix))
    await create_topics(settings)
    with ThreadPoolExecutor(threads, thread_name_prefix="inference") as pool:
        models = Models(settings, pool, clock=clock, worker=worker)
        handler = Serving(settings, models, cache, clock=clock)
        async with Publisher(settings, "headrace-serving") as publisher:
            try:
                await models.restore()
                async with asyncio.TaskGroup() as group:
                    group.create_task(models.report(publisher))
                    group.create_task(models.follow())
                    group.create_task(
                        run_batches(
                            settings,
                            group=GROUP,
                            topics=[topics.CLEAN],
                            handler=handler,
                            max_records=MAX_ROWS,
                            idle=handler.between_batches,
                            stage=Stage.INFERENCE,
                        )
                    )
            finally:
                await cache.close()


def inference_threads(environ: dict[str, str] | os._Environ[str] = os.environ) -> int:
    """Return how many rows are answered at once: `HEADRACE_INFERENCE_THREADS`, else 2.

    Raises:
        Fatal: it is no number from 1 to 64.
    """
    given = environ.get("HEADRACE_INFERENCE_THREADS", "2")
    if not given.isdigit() or not 1 <= int(given) <= 64:
        raise Fatal(f"HEADRACE_INFERENCE_THREADS is {given!r}; it must be a number from 1 to 64")
    return int(given)
