"""The streaming inference worker: `events.clean` in, exactly one answer each on `predictions` out.

    batch ─▶ decode ─▶ per version: cache, model ─▶ predictions + swap ledger + shadows, as one
                                 models.releases ─▶ load beside ─▶ take over between two rounds of batches

A row that the model cannot answer twice goes to `events.dead`; the others of its batch go on. While a release
is on trial, a share of the events is asked of two versions: one answer is the prediction, both are a shadow.
Where a canary has no answer, the champion's is given.
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
from infra.runtime.hot import watched
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.batches import run_batches
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas import codec, topics
from schemas.clean import Clean
from schemas.config import Headrace
from schemas.control import Stage
from schemas.dead import Dead
from schemas.errors import Fatal, Reason, Rejected
from schemas.prediction import Prediction
from schemas.record import Coordinates, Incoming, Outgoing
from serving.answers import answer_all, aside
from serving.cache import Cache, Local, Shared
from serving.follow_releases import ANSWERED, Models, outgoing
from serving.pace import Pace
from serving.shadow import Given, shadow
from serving.slot import CANARY, CHAMPION, Second, Served

_log = get_logger(__name__)
GROUP: Final = "serving"
STAGE: Final = "serving"


class Event(NamedTuple):
    """A decoded record, its model, and the other version where both are asked."""

    record: Incoming
    clean: Clean
    served: Served
    second: Second | None

    @property
    def asked(self) -> Served:
        """Return whose answer is to be given."""
        return self.second.served if self.second is not None and self.second.answers else self.served

    @property
    def beside(self) -> Served | None:
        """Return who is asked too."""
        if self.second is None:
            return None
        return self.served if self.second.answers else self.second.served


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
        self.urgent = urgent_streams(settings)
        self.pace = Pace(settings.config.batches.predict)
        self.brief = Pace.brief(settings.config.batches.predict)
        self._positions: dict[TopicPartition, int] = {}
        self._ledger: dict[tuple[TopicPartition, str], str] = {}
        self._unserved: defaultdict[str, int] = defaultdict(int)

    def take(self, config: Headrace) -> None:
        """Go on by other settings."""
        for pace in (self.pace, self.brief):
            pace.at_most(config.batches.predict)

    async def assigned(self, partition: TopicPartition, position: int) -> None:
        """Start the partition's ledger anew: another worker may have answered with another version."""
        self._forget(partition)
        self._positions[partition] = position

    async def revoked(self, partition: TopicPartition) -> None:
        """Forget the partition."""
        self._forget(partition)

    async def between_batches(self) -> None:
        """Let loaded candidates take over: no batch is in hand, so none mixes two versions."""
        if self._models.take_over(self.positions):
            self.pace.reset()
            self.brief.reset()

    def positions(self) -> dict[str, int]:
        """Return the next offset of each owned partition, by `topic:partition`."""
        return {f"{tp.topic}:{tp.partition}": position for tp, position in self._positions.items()}

    async def process(self, partition: TopicPartition, records: Sequence[Incoming]) -> Sequence[Outgoing]:
        """Return the predictions of a batch in its order, with the ledger's entries before them.

        Raises:
            Retryable: a model no longer answers what it must; nothing of the batch is lost.
        """
        outputs = await self._answered(partition, records)
        self._positions[partition] = records[-1].offset + 1
        return outputs

    async def process_ahead(
        self, partition: TopicPartition, records: Sequence[Incoming]
    ) -> Sequence[Outgoing]:
        """Return the same for records of urgent streams that lie ahead of the partition's position."""
        return await self._answered(partition, records)

    @property
    def brief_rows(self) -> int:
        """Return how many events of the other streams are answered at once while urgent ones may come."""
        return self.brief.rows

    def stream_of(self, record: Incoming) -> str:
        """Return whose event it is; what cannot be read is nobody's, and has time."""
        return codec.stream_of(record.value)

    async def _answered(self, partition: TopicPartition, records: Sequence[Incoming]) -> list[Outgoing]:
        began = time.perf_counter()
        outputs: list[Outgoing] = []
        events = [event for record in records if (event := self._event(record, outputs)) is not None]
        given = await self._asked(events, [event.asked for event in events])
        beside = await self._asked(events, [event.beside for event in events])
        by_model: defaultdict[str, list[int]] = defaultdict(list)
        for index, event in enumerate(events):
            by_model[event.served.release.model].append(index)
        for model, indices in by_model.items():
            outputs.extend(self._enter(partition, model, events[indices[0]]))
        shadows = []
        for index, event in enumerate(events):
            answer, other = given[index], beside.get(index)
            if other is not None and event.second is not None:
                if event.second.answers and answer.judged.answer is None:  # the champion's answer is there
                    answer, other = other, answer
                shadows.append(self._shadow(event, event.second, answer, other))
            given[index] = answer
            outputs.append(self._output(event, answer))
        for model, indices in by_model.items():
            answered = [given[index].judged for index in indices]
            metrics.count_predictions(model, sum(one.answer is not None for one in answered))
            metrics.count_cache_hits(model, sum(one.cached for one in answered))
        for pace in (self.pace, self.brief):
            pace.took(len(records), time.perf_counter() - began)
        return [*outputs, *shadows]

    async def _asked(self, events: Sequence[Event], who: Sequence[Served | None]) -> dict[int, Given]:
        """Return what each event is answered by whom it asks, one version after the other.

        Raises:
            Retryable: a champion fails; what a second does is its own problem.
        """
        by_version: defaultdict[int, list[int]] = defaultdict(list)
        for index, served in enumerate(who):
            if served is not None:
                by_version[id(served)].append(index)
        found: dict[int, Given] = {}
        for indices in by_version.values():
            served = who[indices[0]]
            if served is None:
                continue
            clean = [events[index].clean for index in indices]
            answer = answer_all if served is events[indices[0]].served else aside
            judged = await answer(self._cache, served, clean)
            found.update((index, Given(served, one)) for index, one in zip(indices, judged, strict=True))
        return found

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
        second = self._models.second(served.release.model)
        return Event(record, clean, served, second if second is not None and second.takes(clean) else None)

    def _enter(self, partition: TopicPartition, model: str, first: Event) -> list[Outgoing]:
        """Write into the ledger that a version answers from this event on, if that is new."""
        release = first.served.release
        if self._ledger.get((partition, model)) == release.sha256:
            return []
        self._ledger[partition, model] = release.sha256
        offsets = {f"{partition.topic}:{partition.partition}": first.record.offset}
        swap = self._models.swap(release, ANSWERED, offsets, load_ms=first.served.load_ms)
        return [outgoing(swap)]

    def _output(self, event: Event, given: Given) -> Outgoing:
        record, clean, judged, release = event.record, event.clean, given.judged, given.served.release
        variant, why = CHAMPION, ""
        if event.second is not None and event.second.answers:
            variant = CHAMPION if given.served is event.served else CANARY
            why = event.second.why if variant == CANARY else "the canary had no answer"
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
            variant=variant,
            why=why,
            tolerance=given.served.predictor.tolerance,
        )
        return Outgoing(topics.PREDICTIONS.name, clean.source.encode(), codec.encode(prediction))

    def _shadow(self, event: Event, second: Second, given: Given, beside: Given) -> Outgoing:
        at = Coordinates(event.record.topic, event.record.partition, event.record.offset)
        record = shadow(event.clean, at, second, given, beside, self._clock.now())
        metrics.count_shadow(record.model, record.stage.value, agreed=record.agreed)
        return Outgoing(topics.SHADOW.name, event.clean.source.encode(), codec.encode(record))

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
        async with (
            Publisher(settings, "headrace-serving") as publisher,
            watched(settings, "serving", handler.take, models.take),
        ):
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
                            max_records=lambda: handler.pace.rows,
                            idle=handler.between_batches,
                            stage=Stage.INFERENCE,
                        )
                    )
            finally:
                await cache.close()


def urgent_streams(settings: Settings) -> frozenset[str]:
    """Return the streams that are answered first; none where all would be."""
    models = {name: stream.model for name, stream in settings.config.streams.items() if stream.model}
    high = frozenset(name for name, model in models.items() if model.priority == "high")
    return high if len(high) < len(models) else frozenset()


def inference_threads(environ: dict[str, str] | os._Environ[str] = os.environ) -> int:
    """Return how many rows are answered at once: `HEADRACE_INFERENCE_THREADS`, else 2.

    Raises:
        Fatal: it is no number from 1 to 64.
    """
    given = environ.get("HEADRACE_INFERENCE_THREADS", "2")
    if not given.isdigit() or not 1 <= int(given) <= 64:
        raise Fatal(f"HEADRACE_INFERENCE_THREADS is {given!r}; it must be a number from 1 to 64")
    return int(given)
