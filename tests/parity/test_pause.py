"""Pauses while Flink cleans: nothing of what is paused comes out, and later each event once, in its order."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from infra.cli.rates import held
from infra.flink import control, handover
from infra.flink.control import Cluster
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Endpoints, Settings, load
from schemas import topics
from tests.installation import environment_of
from tests.parity.engines import committed, dealt_with, in_memory, publish, start
from tests.parity.inputs import CONFIG, Published, records
from tests.parity.outcome import Outcome
from tests.parity.test_clean import assert_alike
from tests.parity.test_handover import Process
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
NOW = datetime.now(UTC)
PAUSED = "requests"


@pytest.fixture(scope="module")
def published() -> list[Published]:
    """The input."""
    return records(NOW)


@pytest.fixture
def environment(
    stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """An installation of the test's own, for this process's commands and for workers."""
    found = environment_of(stack, tmp_path, CONFIG.replace("{prefix}", unique))
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


async def test_paused_streams_and_stages_wait_over_a_restart_with_fewer_tasks(
    published: list[Published], flink: Cluster, environment: dict[str, str], unique: str
) -> None:
    """In the end everything is as the engine in memory has it, which knows no pauses."""
    settings, config = load(environment), environment["HEADRACE_CONFIG"]
    half = len(published) // 2
    await create_topics(settings)
    await headrace("streams", "pause", PAUSED, "--reason", "a test")
    await publish(settings, published[:half])
    start(flink, unique, settings, config)
    assert_without(await dealt_with(settings, others(published[:half])), published[:half])
    control.stop(flink, unique, "", 60.0)
    await headrace("streams", "pause", "--stage", "clean")
    await publish(settings, published[half:])
    start(flink, unique, settings, config, parallelism=1, savepoint="last")
    try:
        waiting = half - others(published[:half]) + len(published) - half

        async def all_wait() -> bool:
            return await held(load({**environment, "HEADRACE_HOME": str(flink.home)})) == waiting

        await aeventually(all_wait, timeout_s=40, every_s=0.5)
        assert_without(await committed(settings), published[:half])
        await headrace("streams", "resume", "--stage", "clean")
        assert_without(await dealt_with(settings, others(published)), published)
        assert await parked(settings) == 0
        await headrace("streams", "resume", PAUSED)
        assert_alike(await dealt_with(settings, len(published)), in_memory(published, NOW))
    finally:
        control.cancel(flink, unique)


async def test_what_is_paused_moves_between_engines(
    published: list[Published], flink: Cluster, environment: dict[str, str], unique: str, tmp_path: Path
) -> None:
    """Faust parks, Flink holds what it reads back and what comes, and gives it up; Faust cleans each once."""
    settings, half = load(environment), len(published) // 2
    arguments = ["--bootstrap", settings.endpoints.kafka, "--config", environment["HEADRACE_CONFIG"]]
    await create_topics(settings)
    await headrace("streams", "pause", PAUSED)
    worker = Process(environment, tmp_path / "worker.log")
    worker.start()
    try:
        await publish(settings, published[:half])
        await dealt_with(settings, others(published[:half]))
        await asyncio.to_thread(
            handover.take_over, flink, settings, worker, name=unique, parallelism=2, arguments=arguments
        )
        await publish(settings, published[half:])
        assert_without(await dealt_with(settings, others(published)), published)
        before = await parked(settings)
        await asyncio.to_thread(handover.give_back, flink, settings, worker, name=unique)
        assert await parked(settings) > before
        await headrace("streams", "resume", PAUSED)
        found, specified = await dealt_with(settings, len(published)), in_memory(published, NOW)
        assert (found.accepted, found.dropped) == (specified.accepted, specified.dropped)
        assert found.remembered == specified.remembered
        assert {source: ids(found, source) for source in found.clean} == {
            source: ids(specified, source) for source in specified.clean
        }
    finally:
        worker.stop()


async def headrace(*arguments: str) -> None:
    """Run a command as an operator does."""
    result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
    assert result.exit_code == 0, result.output


def others(published: list[Published]) -> int:
    """Return of how many records something is known while the one stream is paused."""
    specified = in_memory(published, NOW)
    return specified.accounted - specified.accepted[PAUSED] - specified.dropped[PAUSED]


def assert_without(found: Outcome, published: list[Published]) -> None:
    """Nothing of the paused stream, and of the others everything."""
    specified = in_memory(published, NOW)
    assert specified.accepted.pop(PAUSED) > 200
    specified.dropped.pop(PAUSED)
    assert (found.accepted, found.dropped) == (specified.accepted, specified.dropped)


def ids(found: Outcome, source: str) -> list[str]:
    """Return a source's ids in order; what was parked comes back beside what came, so without order."""
    order = [str(event["id"]) for event in found.clean[source]]
    return sorted(order) if source.startswith("shop/") else order


async def parked(settings: Settings) -> int:
    """Return how many records were ever parked in Kafka."""
    return len([record async for record in follow(settings, [topics.PARKED], stop_at_end=True)])
