"""Settings that change under running workers: processes of their own, and nobody restarts them."""

import contextlib
import json
from collections.abc import Awaitable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load
from schemas import topics
from schemas.audit import Audit
from schemas.clean import Clean
from schemas.dead import Dead
from schemas.drift import Signal
from schemas.errors import Reason
from schemas.raw import structured
from schemas.record import Kind, Outgoing
from streams.drift.board import read_levels
from tests.installation import environment_of, start_worker
from tests.running import read
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

CONFIG = """
topic_prefix = "{prefix}."
database = "{prefix}"
{top}
[streams.logs]
kind = "log"
[streams.logs.clean]
max_bytes = {max_bytes}
[streams.logs.drift.input]
psi = {psi}
[streams.logs.model]
base = "{base}"
"""
WORKERS = ("streams", "drift", "serving", "sink", "trainer")


class Installation:
    """Running workers, and the file that they were started with."""

    def __init__(self, stack: Endpoints, prefix: str, folder: Path) -> None:
        self.prefix = prefix
        self.folder = folder
        self.environment = environment_of(stack, folder, self.text())
        self.settings: Settings = load(self.environment)
        self.workers: dict[str, Popen[bytes]] = {}

    def text(
        self, *, top: str = "", psi: float = 0.25, max_bytes: int = 4000, base: str = "", more: str = ""
    ) -> str:
        """Return a configuration."""
        filled = CONFIG.format(prefix=self.prefix, top=top, psi=psi, max_bytes=max_bytes, base=base)
        return filled + more

    def write(self, text: str) -> None:
        """Change the file."""
        (self.folder / "headrace.toml").write_text(text)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the workers, each a process, and stop them as the stack does."""
        for name in WORKERS:
            self.workers[name] = start_worker(name, self.environment, self.log(name))
        try:
            yield
        finally:
            for worker in self.workers.values():
                worker.terminate()
            for worker in self.workers.values():
                worker.wait(30)

    def log(self, name: str) -> Path:
        """Return where a worker's log is."""
        return self.folder / f"{name}.log"

    async def audited(self, outcome: str, words: str, workers: set[str]) -> None:
        """Wait until each of some workers has said something in the audit."""

        async def said() -> bool:
            audits = await read(self.settings, topics.AUDIT, Audit)
            return workers <= {one.who for one in audits if one.outcome == outcome and words in one.detail}

        await aeventually(said, timeout_s=30, every_s=0.2)

    async def publish(self, *ids: str, length: int = 10) -> None:
        """Publish log lines."""
        async with Publisher(self.settings) as publisher:
            for id in ids:
                event = structured(id, "web-1", Kind.LOG, {"message": "x" * length})
                await publisher.send(Outgoing(topics.RAW.name, b"web-1", json.dumps(event).encode()))

    async def cleaned(self) -> list[str]:
        """Return the ids of what was cleaned."""
        return [clean.id for clean in await read(self.settings, topics.CLEAN, Clean)]

    async def oversized(self) -> list[str]:
        """Return the messages of what was rejected for its size."""
        dead = await read(self.settings, topics.DEAD, Dead)
        return [one.message for one in dead if one.reason is Reason.OVERSIZED]

    async def threshold(self) -> float:
        """Return the PSI that matters, as the drift worker shows it."""
        for levels in await read_levels(self.settings):
            for level in levels.levels:
                if level.signal is Signal.INPUT:
                    return level.threshold
        return 0.0


@pytest.fixture
async def installed(stack: Endpoints, unique: str, tmp_path: Path) -> Installation:
    """An installation whose topics are there."""
    made = Installation(stack, unique, tmp_path)
    await create_topics(made.settings)
    return made


async def test_settings_change_under_running_workers(installed: Installation):
    """A threshold, limits and the log level hold within seconds; a wrong file changes nothing."""
    with installed.running():
        await installed.publish("1")
        await aeventually(lambda: _is(installed.cleaned(), ["1"]), timeout_s=60, every_s=0.2)
        await aeventually(lambda: _is(installed.threshold(), 0.25), timeout_s=60, every_s=0.2)
        await _watching(installed)

        top = 'log_level = "error"\nbatches = { clean = 100, predict = 32, store = 50 }'
        installed.write(installed.text(top=top, psi=0.5, max_bytes=400, base="minilm"))
        await installed.audited("done", "log_level", set(WORKERS))
        await installed.audited("done", "batches.clean, log_level, streams.logs.clean.max_bytes", {"streams"})
        await installed.audited("done", "batches.predict", {"serving"})
        await installed.audited("done", "batches.store", {"sink"})
        await installed.audited(
            "done", "needs a restart: streams.logs.clean.max_bytes, streams.logs.model.base", {"trainer"}
        )
        await aeventually(lambda: _is(installed.threshold(), 0.5), timeout_s=10)
        await installed.publish("1", "2", length=500)
        await installed.publish("3")
        await aeventually(lambda: _is(installed.cleaned(), ["1", "3"]), timeout_s=20)
        assert len(await installed.oversized()) == 2
        assert all("400" in message for message in await installed.oversized())

        installed.write(installed.text(top=top, psi=-1, max_bytes=4000))
        await installed.audited(
            "refused", "streams.logs.drift.input.psi: Input should be greater", set(WORKERS)
        )
        await installed.publish("4", length=500)
        await installed.publish("5")
        await aeventually(lambda: _is(installed.cleaned(), ["1", "3", "5"]), timeout_s=20)
        assert await installed.threshold() == 0.5

        installed.write(installed.text(top=top, psi=0.5, max_bytes=400, more='[streams.new]\nkind = "api"\n'))
        await installed.audited("done", "streams.new", set(WORKERS))
        assert all(worker.poll() is None for worker in installed.workers.values())
    told = installed.log("serving").read_text()
    assert told.count("config.refused") == 1
    assert "config.reloaded" not in told  # it is less than an error


async def _watching(installed: Installation) -> None:
    """Wait until every worker has begun to look at the file: what is written before is its first version."""

    async def begun() -> bool:
        return all("config.watched" in installed.log(name).read_text() for name in WORKERS)

    await aeventually(begun, timeout_s=60, every_s=0.2)


async def _is(found: Awaitable[object], wanted: object) -> bool:
    return await found == wanted
