"""Releases in an S3-compatible store, from the trainer's side to a swap under load: real Kafka, real S3."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from infra.cli import models
from infra.runtime.kafka.admin import create_topics
from infra.runtime.releases import Releases
from infra.runtime.settings import Endpoints, Settings, load, parse
from schemas import codec, topics
from schemas.prediction import Prediction
from schemas.release import Release, Swap, Task
from serving import consumer
from serving.follow_releases import AWAITED
from tests.installation import environment_of
from tests.live.test_serving import (
    assert_once_each,
    assert_right_version,
    predicted,
    publish,
    request,
    swap_to,
)
from tests.running import JUDGED, announce, beside, read
from tests.s3 import S3Server
from tests.unit.serving.releases import lay_out, sensor, tiny_text
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


class World:
    """A trainer's machine and a serving one, which have Kafka and a store in common, but no folder."""

    def __init__(self, endpoints: Endpoints, name: str, home: Path, server: S3Server) -> None:
        config = parse(f'topic_prefix = "{name}."\n{JUDGED}{server.section(name)}', "the test")
        self.server = server
        self.objects = server.objects(name)
        self.trainer = Settings(home / "trainer", config, endpoints)
        self.serving = Settings(home / "serving", config, endpoints)
        self.releases = Releases.of(self.trainer.home, config)

    def finished(self, version: int, *, serve: str = "int8") -> Release:
        """A release folder as the trainer finishes it, on its own disk."""
        network = tiny_text(version)
        return lay_out(self.trainer.releases, network, model="requests", version=version, serve=serve)

    async def released(self, version: int, *, serve: str = "int8") -> Release:
        """The same, uploaded and announced."""
        release = await asyncio.to_thread(self.releases.publish, self.finished(version, serve=serve))
        await announce(self.trainer, release)
        return release

    @property
    def fetched(self) -> set[str]:
        """What lies in serving's cache, by sha256."""
        return {path.name for path in (self.serving.home / "fetched").iterdir() if path.name != ".lock"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    """A store of this test's own: it is taken away."""
    with S3Server(tmp_path / "s3") as running:
        yield running


@pytest.fixture
async def world(
    stack: Endpoints, unique: str, tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> World:
    """Topics of this test's own, and the credentials in the environment."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    made = World(stack, unique, tmp_path, server)
    await create_topics(made.serving)
    return made


async def test_a_swap_comes_from_the_store(world: World) -> None:
    """Two releases are fetched, the second under load, one answer an event; the tampered one is refused."""
    first = await world.released(1)
    assert first.uri.startswith("s3://models/") and world.releases.stored() == {"requests": [1]}
    events = [request(number) for number in range(600)]
    async with beside(consumer.run(world.serving)):
        where = await publish(world.serving, events[:200])
        await predicted(world.serving, 200)
        tampered = await asyncio.to_thread(world.releases.publish, world.finished(2))
        (world.objects / "requests" / "2" / "model.int8.onnx").write_bytes(b"evil")
        await announce(world.trainer, tampered)
        assert "model.int8.onnx: its sha256" in (await swap_to(world.serving, 2, "rejected")).message
        outside = msgspec.structs.replace(
            first, version=3, sha256="3" * 64, uri="s3://models/elsewhere/requests/3"
        )
        await announce(world.trainer, outside)
        assert "no release in" in (await swap_to(world.serving, 3, "rejected")).message
        flowing = asyncio.create_task(publish(world.serving, events[200:400]))
        second = await world.released(4, serve="fp32")
        where += await flowing
        await swap_to(world.serving, 4, "swapped")
        where += await publish(world.serving, events[400:])
        predictions = await predicted(world.serving, 600)
    assert_once_each(predictions, events, where)
    assert_right_version(predictions, await read(world.serving, topics.SWAPS, Swap))
    assert {p.version for p in predictions} == {1, 4}
    assert world.fetched == {first.sha256, second.sha256}
    assert not world.serving.releases.exists()


async def test_a_store_that_is_away_is_waited_for(world: World) -> None:
    """The champion goes on, the wait is told once with its reason; back, the newest release is swapped in.

    What was fetched before serves after a start without the store, too.
    """
    first = await world.released(1)
    second, third = [
        await asyncio.to_thread(world.releases.publish, world.finished(number)) for number in (2, 3)
    ]
    async with beside(consumer.run(world.serving)):
        await publish(world.serving, [request(number) for number in range(20)])
        await predicted(world.serving, 20)
        world.server.stop()
        await announce(world.trainer, second)
        assert world.server.endpoint in (await swap_to(world.serving, 2, AWAITED)).message
        await publish(world.serving, [request(number) for number in range(20, 40)])
        await predicted(world.serving, 40)
    async with beside(consumer.run(world.serving)):
        await publish(world.serving, [request(number) for number in range(40, 60)])
        assert {p.version for p in await predicted(world.serving, 60)} == {1}
        await announce(world.trainer, third)
        await swap_to(world.serving, 3, AWAITED)
        world.server.start()
        await swap_to(world.serving, 3, "swapped")
    swaps = await read(world.serving, topics.SWAPS, Swap)
    assert not any(swap.version == 2 and swap.outcome == "swapped" for swap in swaps)
    assert world.fetched == {first.sha256, third.sha256}
    predictions = await read(world.serving, topics.PREDICTIONS, Prediction)
    assert len({p.event for p in predictions}) == len(predictions) == 60


async def test_a_rollback_does_not_wait_for_the_store(world: World) -> None:
    """While a newer release waits for its store, going back to what was fetched before takes effect."""
    first = await world.released(1)
    async with beside(consumer.run(world.serving)):
        await swap_to(world.serving, 1, "swapped")
        await world.released(2)
        await swap_to(world.serving, 2, "swapped")
        third = await asyncio.to_thread(world.releases.publish, world.finished(3))
        world.server.stop()
        await announce(world.trainer, third)
        await swap_to(world.serving, 3, AWAITED)
        await announce(world.trainer, first)

        async def back_again() -> bool:
            swaps = await read(world.serving, topics.SWAPS, Swap)
            return [swap.version for swap in swaps if swap.outcome == "swapped"] == [1, 2, 1]

        assert await aeventually(back_again, 30.0, 0.1)


def test_the_commands_work_on_what_lies_in_the_store_alone(
    stack: Endpoints, unique: str, tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """List, show, diff, promote, roll back and prune on a machine without a release folder of its own."""
    (tmp_path / "here").mkdir()
    text = f'topic_prefix = "{unique}."\n{JUDGED}{server.section(unique)}'
    for name, value in {**environment_of(stack, tmp_path / "here", text), **server.environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    settings = load()
    asyncio.run(create_topics(settings))
    elsewhere = Releases.of(tmp_path / "elsewhere", settings.config)
    for version in (1, 2, 3):
        network = sensor(version, Task.CLASSIFICATION)
        elsewhere.publish(lay_out(elsewhere.folder, network, model="host", version=version))
    app = typer.Typer()
    models.register(app)

    def headrace(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "200"})
        assert result.exit_code == 0, result.output + repr(result.exception)
        return result.stdout

    assert [row["version"] for row in json.loads(headrace("list", "--json"))] == [1, 2, 3]
    assert not settings.releases.exists()
    assert json.loads(headrace("show", "host/1", "--json"))["version"] == 1
    headrace("promote", "1")
    headrace("diff", "1", "3")
    shutil.rmtree(settings.releases)
    promoted = codec.decode(headrace("promote", "latest", "--json").encode(), Release)
    assert (promoted.version, promoted.served_before) == (3, (1,))
    assert promoted.uri == elsewhere.located(msgspec.structs.replace(promoted, uri="file:///x")).uri
    shutil.rmtree(settings.releases)
    back = codec.decode(headrace("rollback", "--json").encode(), Release)
    assert (back.version, back.uri[:5]) == (1, "s3://")
    assert "host 2: deleted" in headrace("prune", "--keep", "0", "--older-than", "0s", "--yes")
    assert 2 not in elsewhere.stored()["host"]
    assert 1 in elsewhere.stored()["host"]
