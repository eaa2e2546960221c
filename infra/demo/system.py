"""The system under the demo: produces a running stack whose watched stream has its first model."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from infra.cli.worker import Worker
from infra.demo.conductor import StuckError
from infra.demo.display import Display
from infra.demo.feed import Event
from infra.demo.first_model import train, write_rows
from infra.demo.plan import Plan
from infra.local.stack import Stack
from infra.local.workers import worker_specs
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings, load, load_config
from schemas import codec, topics
from schemas.record import Outgoing
from schemas.release import Release

_GATEWAY_DEADLINE_S: Final = 60.0
_LOOK_S: Final = 0.1


class System:
    """The local stack in the demo's folder; `stop` takes it down whatever state it is in."""

    def __init__(self, plan: Plan, config: Path, display: Display) -> None:
        self._plan = plan
        self._config = config
        self._display = display
        self._stack = Stack(plan.home, progress=display.say)
        self._environment = {"HEADRACE_HOME": str(plan.home), "HEADRACE_CONFIG": str(config)}
        self._settings: Settings | None = None
        self.gateway = ""

    @property
    def settings(self) -> Settings:
        """Return the settings that the workers run with."""
        if self._settings is None:
            raise StuckError("the stack was not started")
        return self._settings

    async def start(self, history: Sequence[Event], workers: Sequence[Worker]) -> None:
        """Start the services, train the first model beside, publish it, start the workers.

        Raises:
            HeadraceError: something did not start, or the first model could not be trained.
        """
        training = asyncio.create_task(self._first_model(history)) if history else None
        try:
            await _uninterrupted(self._stack.start)
            self._settings = load({**os.environ, **self._environment})
            await create_topics(self.settings)
            release = await training if training else None
        finally:
            if training is not None and not training.done():
                training.cancel()
                await asyncio.gather(training, return_exceptions=True)
        if release is not None:
            await self._publish(release)
        for spec in worker_specs(self._plan.home, str(self._config), workers):
            await _uninterrupted(partial(self._stack.add_worker, spec))
        self.gateway = await self._gateway()

    async def stop(self) -> None:
        """Stop everything; an interrupt meanwhile does not leave processes behind."""
        await _uninterrupted(self._stack.stop)

    async def _first_model(self, history: Sequence[Event]) -> Release:
        began = time.monotonic()
        streams = load_config(self._environment).streams
        rows = self._plan.home / "history.jsonl"
        count = await asyncio.to_thread(write_rows, streams, history, rows)
        self._display.say(
            f"training the first model of `{self._plan.stream}` on {count} events that lie before the run"
        )
        release = await train(self._plan.home, self._config, self._plan.stream, rows)
        self._display.say(
            f"first model trained in {time.monotonic() - began:.0f} s: {release.model} v{release.version}"
        )
        return release

    async def _publish(self, release: Release) -> None:
        async with Publisher(self.settings, "headrace-demo") as publisher:
            await publisher.send(
                Outgoing(topics.RELEASES.name, release.model.encode(), codec.encode(release))
            )

    async def _gateway(self) -> str:
        """Wait until the gateway says that it is ready, and return its address."""
        record = self._plan.home / "gateway.json"
        deadline = time.monotonic() + _GATEWAY_DEADLINE_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while time.monotonic() < deadline:
                with suppress(OSError, msgspec.DecodeError, KeyError, aiohttp.ClientError):  # it is starting
                    url: str = msgspec.json.decode(record.read_bytes())["url"]
                    async with session.get(f"{url}/readyz") as answer:
                        if answer.status == 200:
                            return url
                await asyncio.sleep(_LOOK_S)
        log = self._plan.home / "log" / "gateway.log"
        raise StuckError(f"the gateway was not ready within {_GATEWAY_DEADLINE_S:.0f} s. Log: {log}")


async def _uninterrupted(work: Callable[[], None]) -> None:
    """Run blocking work in a thread; when cancelled, wait until it ended, then pass the cancellation on.

    A stack that is left half started by one thread while another stops it would leave processes behind.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
