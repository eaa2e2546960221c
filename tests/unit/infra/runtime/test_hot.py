"""Settings that change while a worker runs: what is taken over, what is named, what is put back."""

import logging
import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from infra.runtime import log
from infra.runtime.audit import Trail
from infra.runtime.clock import ManualClock
from infra.runtime.hot import Hot, merged
from infra.runtime.settings import parse
from schemas import codec
from schemas.audit import Audit
from schemas.config import Headrace
from schemas.hot import WORKERS
from schemas.record import Coordinates, Outgoing

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
FILE = '[streams.x]\nkind = "sensor"\n[streams.x.model]\nbase = ""\n'


class Memory:
    """Keeps the records that were sent."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        """Keep records."""
        self.records.extend(records)
        return [Coordinates("audit", 0, number) for number, _ in enumerate(records)]


class Drifts:
    """Takes what it is told, except what it was made to refuse."""

    def __init__(self) -> None:
        self.psi: list[float] = []
        self.refuses = float("nan")

    def take(self, config: Headrace) -> None:
        """Note the threshold of stream x."""
        psi = config.streams["x"].drift.input.psi
        self.psi.append(psi)
        if psi == self.refuses:
            raise ValueError("nobody can work by this")


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The log level is everybody's: it is put back."""
    before = logging.getLogger().level
    yield
    log.set_level(logging.getLevelName(before))


@pytest.fixture
def memory() -> Memory:
    """Where the audit goes."""
    return Memory()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that the worker was started with."""
    path = tmp_path / "headrace.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def trail(memory: Memory, tmp_path: Path) -> Trail:
    """A worker's audit."""
    return Trail(memory, tmp_path, ManualClock(NOW), "drift")


@pytest.fixture
def hot(file: Path, trail: Trail) -> Hot:
    """A drift worker's settings."""
    return Hot(file, parse(FILE, "a test"), "drift", trail)


def rewrite(path: Path, text: str) -> None:
    """Change a file; its time differs, however coarse the clock of the file system is."""
    path.write_text(text)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


async def audits(trail: Trail, memory: Memory) -> list[Audit]:
    """Send what was noted, and return all of it."""
    await trail.flush()
    return [codec.decode(record.value, Audit) for record in memory.records]


async def test_what_is_hot_is_told_and_what_is_not_is_named(
    hot: Hot, file: Path, trail: Trail, memory: Memory
):
    """A threshold goes to the taker; base, topics and a new stream wait for a restart, and are named."""
    drifts = Drifts()
    hot.tell(drifts.take)
    text = FILE.replace('base = ""', 'task = "anomaly"') + "[streams.x.drift.input]\npsi = 0.5\n"
    rewrite(file, f'topic_prefix = "other."\n{text}[streams.y]\nkind = "log"\n')
    with capture_logs() as logs:
        hot.poll()
        hot.poll()
    assert drifts.psi == [0.5]
    assert hot.config.topic_prefix == ""
    assert list(hot.config.streams) == ["x"]
    (entry,) = logs
    assert entry["event"] == "config.reloaded"
    assert entry["log_level"] == "warning"
    assert entry["taken_over"] == ("streams.x.drift.input.psi",)
    assert entry["needs_restart"] == ("streams.x.model.task", "streams.y", "topic_prefix")
    (audit,) = await audits(trail, memory)
    assert (audit.who, audit.action, audit.outcome) == ("drift", "config.reloaded", "done")
    assert audit.detail == (
        "taken over: streams.x.drift.input.psi; "
        "needs a restart: streams.x.model.task, streams.y, topic_prefix"
    )


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("[streams.x.drift.input]\npsi = 0", "streams.x.drift.input.psi: Input should be greater than 0"),
        ("[streams.x.drift.input]\npsy = 1", "did you mean 'psi'?"),
        ("[streams", "not valid TOML"),
    ],
)
async def test_a_wrong_file_is_refused_with_its_reason(
    wrong: str, reason: str, hot: Hot, file: Path, trail: Trail, memory: Memory
):
    """Nothing changes, the log, the metric and the audit say why; a right file is taken again."""
    drifts = Drifts()
    hot.tell(drifts.take)
    rewrite(file, FILE + wrong)
    with capture_logs() as logs:
        hot.poll()
        hot.poll()
    assert drifts.psi == []
    assert [entry["event"] for entry in logs] == ["config.refused"]
    assert reason in logs[0]["error"]
    assert REGISTRY.get_sample_value("headrace_settings_valid", {"file": "headrace.toml"}) == 0
    rewrite(file, FILE + "[streams.x.drift.input]\npsi = 0.4")
    hot.poll()
    assert drifts.psi == [0.4]
    assert REGISTRY.get_sample_value("headrace_settings_valid", {"file": "headrace.toml"}) == 1
    refused, done = await audits(trail, memory)
    assert (refused.outcome, done.outcome) == ("refused", "done")
    assert reason in refused.detail


async def test_what_one_taker_cannot_work_by_is_put_back_for_all(
    hot: Hot, file: Path, trail: Trail, memory: Memory
):
    """All or none: those that took it are given the old settings again, and so is the log."""
    first, second = Drifts(), Drifts()
    second.refuses = 0.5
    hot.tell(first.take)
    hot.tell(second.take)
    log.set_level("info")
    rewrite(file, f'log_level = "debug"\n{FILE}[streams.x.drift.input]\npsi = 0.5\n')
    hot.poll()
    assert first.psi == [0.5, 0.25]
    assert second.psi == [0.5, 0.25]
    assert hot.config.streams["x"].drift.input.psi == 0.25
    assert logging.getLogger().level == logging.INFO
    (audit,) = await audits(trail, memory)
    assert (audit.outcome, audit.detail) == ("refused", "nobody can work by this")


def test_the_level_of_the_log_is_every_workers(hot: Hot, file: Path):
    """It changes at once, and back."""
    rewrite(file, f'log_level = "debug"\n{FILE}')
    hot.poll()
    assert logging.getLogger().level == logging.DEBUG
    rewrite(file, f'log_level = "warning"\n{FILE}')
    hot.poll()
    assert logging.getLogger().level == logging.WARNING


async def test_keys_of_other_workers_are_nothing_to_it(hot: Hot, file: Path, trail: Trail, memory: Memory):
    """The drift worker takes no part in the gateway's limits, and says nothing of them in the audit."""
    rewrite(file, f"{FILE}[gateway.limits]\nburst = 5\n")
    hot.poll()
    assert hot.config.gateway.limits.burst == 100
    assert await audits(trail, memory) == []


def test_every_hot_key_is_merged_and_no_other():
    """What runs afterwards has the hot keys of the new file and the others of the old."""
    running = parse(FILE, "a test")
    text = f'{FILE}learn = {{ epochs = 7 }}\nprecision = "int8"\n[streams.x.clean]\nmax_bytes = 99\n'
    config, changes = merged(running, parse(text, "a test"), WORKERS["trainer"])
    model = config.streams["x"].model
    assert model is not None
    assert (model.learn.epochs, model.precision) == (7, "auto")
    assert config.streams["x"].clean.max_bytes == 256 * 1024
    assert changes.hot == ("streams.x.model.learn.epochs",)
    assert changes.cold == ("streams.x.clean.max_bytes", "streams.x.model.precision")
