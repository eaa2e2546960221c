"""The trainer: consumes `alerts.drift` and labelled events, produces `models.releases` and `models.loop`.

One learning loop per stream that has a model; one training at a time, in a process of low priority.
"""

import asyncio
import os
from asyncio import TaskGroup
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from aiokafka.errors import KafkaError

from infra.runtime.clock import SystemClock
from infra.runtime.hot import watched
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.releases import Releases
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse, WarehouseRefused
from schemas import codec
from schemas.config import Headrace
from schemas.drift import DriftAlert
from schemas.errors import Rejected, Retryable
from schemas.record import Incoming
from schemas.release import Release, State
from schemas.topics import ALERTS, RELEASES
from trainers.child import Child
from trainers.loop import Loop
from trainers.memory import memory_file
from trainers.reader import Reader
from trainers.registry import Registrar
from trainers.rollout.records import BY_ITSELF, REFUSED
from trainers.rollout.worker import watch
from trainers.runs import Runs
from trainers.shared import Shared, Trains

_log = get_logger(__name__)

_WARM_AFTER_S: Final = 10.0
"""The training process starts this long after the worker, when the other workers have had their start."""


async def run(settings: Settings) -> None:
    """Run until cancelled; whatever it was doing is taken up again by the next start."""
    await create_topics(settings)
    async with _shared(settings) as shared, _warehouse(settings) as warehouse:
        await _catch_up(settings, shared)
        shared.registrar.serving(shared.champions)
        loops = {
            name: Loop(
                name, stream, stream.model, shared,
                Reader(
                    warehouse, name, task=stream.model.task,
                    memory=memory_file(settings.home, name), cleaning=stream.clean,
                ),
            )
            for name, stream in settings.config.streams.items()
            if stream.model is not None
        }  # fmt: skip
        _log.info(
            "trainer.started",
            streams=list(loops),
            champions={m: r.version for m, r in shared.champions.items()},
        )
        async with (
            watched(settings, "trainer", lambda config: _take(config, loops)) as hot,
            TaskGroup() as tasks,
        ):
            tasks.create_task(_again(lambda: _follow_releases(settings, shared)))
            tasks.create_task(_again(lambda: _follow_alerts(settings, loops, shared)))
            if loops:
                tasks.create_task(_warm(shared.child))
            tasks.create_task(shared.registrar.run())
            tasks.create_task(_again(lambda: watch(settings, shared, warehouse, hot)))
            for loop in loops.values():
                tasks.create_task(_again(loop.run))


def _take(config: Headrace, loops: dict[str, Loop]) -> None:
    """Let the loops go on by other settings."""
    for name, loop in loops.items():
        loop.take(config.streams[name])


@asynccontextmanager
async def _shared(settings: Settings) -> AsyncIterator[Shared]:
    threads = max(1, int(os.environ.get("HEADRACE_TRAINER_THREADS", "1")))
    child = Child(settings.home, threads)
    async with Publisher(settings, "headrace-trainer") as publisher:
        try:
            registrar = Registrar(settings.home)
            yield Shared(
                settings.home, SystemClock(), publisher, Runs(settings.home), child, registrar, threads,
                releases=Releases.of(settings.home, settings.config),
            )  # fmt: skip
        finally:
            await child.close()


@asynccontextmanager
async def _warehouse(settings: Settings) -> AsyncIterator[Warehouse]:
    """Connect, waiting for the warehouse if it is still starting."""
    while True:
        try:
            warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
            break
        except Retryable as error:
            _log.warning("warehouse.awaited", reason=str(error))
            await asyncio.sleep(1.0)
    try:
        yield warehouse
    finally:
        await warehouse.close()


async def _again(task: Callable[[], Awaitable[None]]) -> None:
    """Run a task for ever; failures of the surroundings, missing tables among them, only delay it."""
    while True:
        try:
            await task()
        except (Retryable, WarehouseRefused, KafkaError) as error:
            _log.warning("trainer.delayed", reason=repr(error)[:300])
            await asyncio.sleep(2.0)


async def _warm(child: Trains) -> None:
    """Start the training process before it is needed: importing torch takes seconds."""
    await asyncio.sleep(_WARM_AFTER_S)
    await child.start()


async def _catch_up(settings: Settings, shared: Shared) -> None:
    """Learn which release of each model serves, before any alert is judged by it."""
    async for incoming in follow(settings, [RELEASES], start="beginning", stop_at_end=True):
        _take_release(incoming, shared)


async def _follow_releases(settings: Settings, shared: Shared) -> None:
    async for incoming in follow(settings, [RELEASES], start="beginning"):
        _take_release(incoming, shared)
        shared.registrar.serving(shared.champions)


def _take_release(incoming: Incoming, shared: Shared) -> None:
    """Note the release that serving follows, under the model's own key, and what is said of others."""
    if incoming.offset <= shared.releases_read:
        return
    shared.releases_read = incoming.offset
    if incoming.value is None or incoming.key is None:
        return
    try:
        release = codec.decode(incoming.value, Release)
    except Rejected as error:
        _log.warning("release.unreadable", offset=incoming.offset, reason=str(error))
        return
    if b"/" not in incoming.key:
        if release.state is State.RELEASED:
            shared.champions[release.model] = release
        return
    staged = shared.staged.get(release.model)
    if release.staged:
        shared.staged[release.model] = release
    elif staged is not None and staged.version == release.version:
        del shared.staged[release.model]
    if release.state is State.ROLLED_BACK:
        shared.rolled_back.setdefault(release.model, set()).add(release.version)
    if {BY_ITSELF, REFUSED}.intersection(release.reasons):
        # The run may not know yet, if a crash came in between.
        shared.runs.take_back(release.stream, release.version)


async def _follow_alerts(settings: Settings, loops: dict[str, Loop], shared: Shared) -> None:
    """Hand each unanswered alert to its stream's loop; from the beginning, for a restart's sake."""
    async for incoming in follow(settings, [ALERTS], start="beginning"):
        if incoming.value is None:
            continue
        try:
            alert = codec.decode(incoming.value, DriftAlert)
        except Rejected as error:
            _log.warning("alert.unreadable", offset=incoming.offset, reason=str(error))
            continue
        loop = loops.get(alert.stream)
        if loop is not None and not shared.runs.handled(alert.id):
            loop.alerts.put_nowait(alert)
