"""The trainer worker as a process of its own, killed with kill -9 at every step of a run."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Endpoints, Settings, load
from infra.runtime.warehouse import Warehouse
from schemas import codec, topics
from schemas.release import Release, State, Transition
from tests.installation import environment_of, start_worker
from tests.live.test_trainer import create_tables, store
from tests.unit.trainers import samples
from tests.waiting import aeventually
from trainers import folders

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

CONFIG = """
topic_prefix = "{name}."
database = "{name}"
[streams.host]
kind = "sensor"
[streams.host.model]
learn = {{ min_labels = 120, epochs = 8 }}
[streams.host.gate]
p99_ms = 500
"""


@pytest.fixture
def environment(stack: Endpoints, unique: str, tmp_path: Path) -> dict[str, str]:
    """An installation of the test's own on the shared services."""
    return environment_of(stack, tmp_path, CONFIG.format(name=unique)) | {"HEADRACE_TRAINER_NICE": "0"}


@contextlib.contextmanager
def _worker(environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a trainer worker; when the block ends, it and its training process are ended by kill -9."""
    process = start_worker("trainer", environment, log)
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
        _, alive = psutil.wait_procs(children, timeout=20)
        assert not alive, "the training process outlived its worker"


async def _records(settings: Settings, topic: topics.Topic, contract: Any) -> list[Any]:
    """Return all that is on a topic."""
    return [
        codec.decode(incoming.value or b"", contract)
        async for incoming in follow(settings, [topic], stop_at_end=True)
    ]


async def test_a_run_that_is_killed_at_every_step_releases_one_version(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """While collecting, training and evaluating, with its outcome on disk, and after: one version serves."""
    settings = load(environment)
    log = tmp_path / "trainer.log"
    await create_topics(settings)
    await create_tables(settings)
    warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    outcomes = tmp_path / "trainer" / "runs"

    async def reached(state: str) -> bool:
        return any(step.state == state for step in await _records(settings, topics.LOOP, Transition))

    def starts() -> int:
        return log.read_bytes().count(b"trainer.started")

    async def started(times: int) -> bool:
        return starts() >= times

    def states() -> list[str]:
        return [msgspec.json.decode(path.read_bytes())["state"] for path in outcomes.glob("*/state.json")]

    async def ended() -> bool:
        return states() == ["released"]

    async def decided() -> bool:
        return any(outcomes.glob("*/outcome.json"))

    try:
        with _worker(environment, log):  # nothing to learn from yet
            await aeventually(partial(started, 1), 60)
        await store(warehouse, settings.topic(topics.CLEAN), samples.readings(1, 300))
        for state in ("collecting", "training", "evaluating"):
            with _worker(environment, log):
                await aeventually(partial(reached, state), 90, every_s=0.02)
        with _worker(environment, log):
            await aeventually(decided, 90, every_s=0.005)
        with _worker(environment, log):
            await aeventually(partial(reached, "released"), 90)
        before = starts()  # one that was killed at once did not come so far
        with _worker(environment, log):
            await aeventually(partial(started, before + 1), 60)
            await aeventually(ended, 60)
    finally:
        await warehouse.close()

    records = await _records(settings, topics.RELEASES, Release)
    assert {record.state for record in records} == {State.RELEASED}
    assert len({(record.version, record.sha256) for record in records}) == 1, records
    folders.verify(settings.releases, "host", records[0].version)
    assert states() == ["released"]
