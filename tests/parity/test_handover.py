"""Cleaning moves between Faust and Flink under load: every event once, whichever engine had it."""

import asyncio
import contextlib
import json
import logging
import random
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import pytest
from aiokafka import AIOKafkaProducer

from infra.flink import handover
from infra.flink.control import Cluster
from infra.flink.errors import FlinkError
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.settings import Endpoints, Settings, load
from schemas import topics
from schemas.raw import structured
from schemas.record import Kind
from tests.installation import environment_of, start_worker
from tests.parity.conftest import SWITCHES
from tests.parity.engines import committed, dealt_with
from tests.parity.outcome import Outcome

_log = logging.getLogger(__name__)
pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

CONFIG = """
topic_prefix = "{prefix}"
[streams.plant]
kind = "sensor"
"""
EVERY_S = 0.05
AT_ONCE = 10
REJECTED = b"not json"


@dataclass
class Load:
    """Publishes without a pause: events, copies of any of the earlier ones, and what is rejected."""

    settings: Settings
    rng: random.Random = field(default_factory=lambda: random.Random(5))
    values: list[bytes] = field(default_factory=list)
    copies: int = 0
    rejected: int = 0

    @property
    def published(self) -> int:
        """Return how many records were published."""
        return len(self.values) + self.copies + self.rejected

    async def run(self) -> None:
        """Publish until cancelled; what was begun is flushed."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.endpoints.kafka, linger_ms=5)
        async with connected(producer):
            try:
                while True:
                    for key, value in self._next():
                        await producer.send(self.settings.topic(topics.RAW), value, key)
                    await asyncio.sleep(EVERY_S)
            finally:
                await producer.flush()

    def _next(self) -> list[tuple[bytes, bytes]]:
        made = []
        for _ in range(AT_ONCE):
            kind = self.rng.random()
            if kind < 0.03:
                self.rejected += 1
                made.append((b"%d" % self.rng.randrange(20), REJECTED))
            elif kind < 0.25 and self.values:
                self.copies += 1
                value = self.rng.choice(self.values)
                made.append((str(json.loads(value)["source"]).encode(), value))
            else:
                number = len(self.values)
                reading = {"values": {"level": number % 7}}
                event = structured(f"{number}", f"grid/{number % 20}", Kind.SENSOR, reading, stream="plant")
                self.values.append(json.dumps(event).encode())
                made.append((f"grid/{number % 20}".encode(), self.values[-1]))
        return made


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


@pytest.fixture
def switches(request: pytest.FixtureRequest) -> int:
    """How often the engine changes; more by `--switches`."""
    return int(request.config.getoption("--switches", default=SWITCHES))


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


async def test_a_job_that_cannot_take_over_changes_nothing(
    flink: Cluster, stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """With too few slots the workers are not even stopped."""
    settings = load(environment_of(stack, tmp_path, CONFIG.replace("{prefix}", unique)))
    with pytest.raises(FlinkError, match="slots"):
        await asyncio.to_thread(
            handover.take_over, flink, settings, _Untouched(), name=unique, parallelism=3, arguments=[]
        )


class _Untouched:
    def stop(self) -> None:
        raise AssertionError("stopped")

    def start(self) -> None:
        raise AssertionError("started")


def assert_once(found: Outcome, published: Load) -> None:
    """Each event and each rejection exactly once, and each copy dropped."""
    seen = Counter(event["id"] for events in found.clean.values() for event in events)
    wanted = Counter(str(number) for number in range(len(published.values)))
    assert (seen - wanted, wanted - seen) == (Counter(), Counter())
    places: Sequence[object] = [letter[0] for letter in found.dead]
    assert len(places) == len(set(places)) == published.rejected
    assert found.dropped.total() == published.copies
    assert found.accepted.total() == len(published.values)
