"""The learning loop with a release store: what is announced lies there; one that is away costs time."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from infra.runtime.object_store import ObjectStore
from infra.runtime.releases import Releases
from schemas.record import Outgoing
from schemas.store import ReleaseStore
from tests.s3 import S3Server
from tests.unit.trainers.samples import readings
from tests.unit.trainers.test_loop import World, alert
from tests.waiting import aeventually
from trainers import folders

pytestmark = pytest.mark.timeout(180)


class Stored(World):
    """A world whose releases lie in a store, which goes away as a training begins if that is wished."""

    def __init__(self, home: Path, server: S3Server, *, away: bool = False) -> None:
        super().__init__(home)
        section = ReleaseStore(url="s3://models/releases", endpoint=server.endpoint, timeout=2.0)
        store = ObjectStore(section, server.environment)
        self.shared = replace(self.shared, releases=Releases(home / "releases", store))
        self.server = server
        self.away = away

    async def send(self, record: Outgoing, /) -> None:
        """Keep a transition; stop the store before the training that it speaks of."""
        await super().send(record)
        if self.away and self.states()[-1:] == ["training"]:
            self.server.stop()
            self.away = False

    async def outcome(self) -> bool:
        """Tell whether the training has come to its end."""
        return any((self.shared.home / "trainer" / "runs").glob("*/outcome.json"))


async def test_a_release_waits_for_its_store(tmp_path: Path) -> None:
    """The store goes while the first model is trained: it is announced once it is back, and trained once."""
    with S3Server(tmp_path / "s3") as server:
        world = Stored(tmp_path / "home", server, away=True)
        async with world.running():
            world.rows.add(readings(1, 200))
            await world.until("training")
            await aeventually(world.outcome, 60.0)
            await world.quietly()
            assert "released" not in world.states()
            server.start()
            await world.until("watching")
        assert world.states() == ["collecting", "training", "released", "watching"]
        assert world.shared.champions["host"].uri == "s3://models/releases/host/1"
        assert world.shared.releases.stored() == {"host": [1]}


async def test_a_trainer_on_another_machine_goes_on(tmp_path: Path) -> None:
    """Without a folder of its own it fetches the champion, and takes no number that the store has."""
    with S3Server(tmp_path / "s3") as server:
        home = tmp_path / "home"
        world = Stored(home, server)
        async with world.running():
            await world.serving()
            shutil.rmtree(home / "releases")
            shutil.rmtree(home / "trainer" / "versions")
            world.loop.alerts.put_nowait(alert("a"))
            await world.until("released", 2)
        assert world.shared.champions["host"].version == 2
        assert folders.versions(home / "releases", "host") == [1, 2]
        assert world.shared.releases.stored() == {"host": [1, 2]}
