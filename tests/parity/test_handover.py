"""Cleaning moves between Faust and Flink under load: every event once, whichever engine had it."""

import asyncio
import contextlib
import logging
import subprocess
from pathlib import Path
from time import monotonic

import pytest

from infra.flink import handover
from infra.flink.control import Cluster
from infra.runtime.kafka.admin import create_topics
from infra.runtime.settings import Endpoints, load
from tests.installation import environment_of, start_worker
from tests.parity.engines import committed, dealt_with
from tests.parity.load import Load, assert_once

_log = logging.getLogger(__name__)
pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

SWITCHES = 3
"""There, back and there again, and back in the end."""
CONFIG = """
topic_prefix = "{prefix}"
[streams.plant]
kind = "sensor"
"""


class Process:
    """The worker as one process, of an installation that `headrace up` does not run."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self._running = start_worker("streams", self._environment, self._log)

    def stop(self) -> None:
        """Let it end, as the supervisor does."""
        if self._running is not None:
            self._running.terminate()
            self._running.wait(20)
            self._running = None


async def test_every_event_is_cleaned_once_while_engines_change(
    flink: Cluster, stack: Endpoints, unique: str, tmp_path: Path, switches: int
) -> None:
    """Faust begins; each change carries positions and memory over, with no pause in what is published."""
    environment = environment_of(stack, tmp_path, CONFIG.replace("{prefix}", unique))
    settings = load(environment)
    await create_topics(settings)
    arguments = ["--bootstrap", stack.kafka, "--config", environment["HEADRACE_CONFIG"]]
    worker, load_of = Process(environment, tmp_path / "worker.log"), Load(settings)
    worker.start()
    publishing = asyncio.create_task(load_of.run())
    accounted: list[int] = []
    try:
        for number in range(switches):
            seen = accounted[-1] if accounted else 0
            found = await dealt_with(settings, seen + 500)  # the engine that runs has cleaned some
            accounted.append(found.accounted)
            began = monotonic()
            if number % 2 == 0:
                await asyncio.to_thread(
                    handover.take_over,
                    flink,
                    settings,
                    worker,
                    name=unique,
                    parallelism=2,
                    arguments=arguments,
                )
            else:
                await asyncio.to_thread(handover.give_back, flink, settings, worker, name=unique)
            _log.info("switch %d: %.1f s", number + 1, monotonic() - began)
        await dealt_with(settings, accounted[-1] + 500)
        publishing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await publishing
        assert_once(await dealt_with(settings, load_of.published), load_of)
    finally:
        publishing.cancel()
        worker.stop()
        if switches % 2:
            await asyncio.to_thread(handover.give_back, flink, settings, worker, name=unique)
            worker.stop()
    assert_once(await committed(settings), load_of)
