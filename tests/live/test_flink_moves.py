"""`headrace flink take-over` and `give-back` as commands beside `headrace up`: every event once."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.runtime.settings import Settings, load
from tests.parity.engines import committed, dealt_with
from tests.parity.load import Load, assert_once
from tests.waiting import eventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

CONFIG = """
[streams.plant]
kind = "sensor"
"""
SWITCHES = 2
PROMETHEUS = Path(__file__).parents[2] / "infra" / "prometheus"
PUSHED_WITHIN_S = 15.0
AT_LEAST = 300
"""So many events are cleaned by an engine before the next move."""


@dataclass(frozen=True)
class Installation:
    """A data folder where the stack and a Flink cluster run, and what commands find it by."""

    home: Path
    environment: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a user does."""
        argv = [sys.executable, "-m", "infra.cli", *words]
        environment = {**os.environ, **self.environment}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=180, check=False)

    def told(self, *words: str) -> Any:
        """Run a command that must succeed, and return its JSON."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    @property
    def settings(self) -> Settings:
        """What commands and workers read."""
        return load(self.environment)

    @property
    def worker(self) -> tuple[str, int | None]:
        """State and process id of the worker that cleans."""
        record = json.loads((self.home / "stack.json").read_text())
        (found,) = [process for process in record["processes"] if process["name"] == "streams"]
        return found["state"], found["pid"]

    @property
    def kept(self) -> list[str]:
        """What is written down of engines and jobs."""
        files = [self.home / "cleaning.json", self.home / "flink" / "jobs.json"]
        return [path.read_text() if path.is_file() else "" for path in files]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The stack with its workers, and a cluster of two slots, started side by side by their commands."""
    home = tmp_path_factory.mktemp("moves")
    (home / "headrace.toml").write_text(CONFIG)
    made = Installation(
        home,
        {
            "HEADRACE_HOME": str(home),
            "HEADRACE_CONFIG": str(home / "headrace.toml"),
            "HEADRACE_GATEWAY_PORT": "0",
            "HEADRACE_GATEWAY_GRPC_PORT": "0",
        },
    )
    try:
        with ThreadPoolExecutor() as pool:
            started = list(pool.map(lambda words: made.run(*words), [("up",), ("flink", "up")]))
        assert [done.returncode for done in started] == [0, 0], started
        yield made
    finally:
        with ThreadPoolExecutor() as pool:
            ended = list(pool.map(lambda words: made.run(*words), [("flink", "down"), ("down",)]))
        assert [done.returncode for done in ended] == [0, 0], ended


def assert_refused(installation: Installation, words: Sequence[str], *told: str) -> None:
    """The command says why not on standard error and exits with 1; worker, choice and jobs are as before."""
    before = installation.worker, installation.kept
    done = installation.run("flink", *words)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert done.stderr.startswith("headrace: ")
    assert all(part in done.stderr for part in told), done.stderr
    assert (installation.worker, installation.kept) == before


def assert_cleans(installation: Installation, engine: str) -> None:
    """Both commands of status show which engine cleans, and that all is well."""
    shown = installation.told("status")
    assert (shown["cleaning"], shown["healthy"]) == (engine, True)
    workers = {process["name"] for process in shown["processes"] if process["state"] == "running"}
    assert ("streams" in workers) == (engine == "faust")
    jobs = [job["state"] for job in installation.told("flink", "status")["jobs"] if job["job"] == "clean"]
    assert ("RUNNING" in jobs) == (engine == "flink")


def take_over(installation: Installation) -> None:
    """Move to Flink, and read what the command says."""
    done = installation.run("flink", "take-over", "--parallelism", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["the workers have stopped"]
    said = done.stdout.splitlines()
    assert said[0].startswith("Flink cleans, as job ")
    assert said[1] == "next: headrace flink status · headrace flink give-back"
    assert installation.worker == ("stopped", None)
    assert_cleans(installation, "flink")


def give_back(installation: Installation) -> None:
    """Move to Faust, and read what the command says."""
    done = installation.run("flink", "give-back")
    assert done.returncode == 0, done.stderr
    stopped, back = done.stderr.splitlines()
    path = stopped.removeprefix("the job has stopped with savepoint file:")
    assert Path(path, "_metadata").is_file()
    assert back == "the workers clean"
    assert done.stdout.splitlines() == ["Faust cleans", "next: headrace status"]
    assert_cleans(installation, "faust")


def assert_measured(installation: Installation) -> None:
    """Every series of Flink's that the rules stand on is there while the job reads, that of its lag too."""
    (record,) = (installation.home / "metrics").glob("flink-*.json")
    (target,) = json.loads(record.read_text())[0]["targets"]
    rules = "".join((PROMETHEUS / name).read_text() for name in ("alerts.yml", "recording.yml"))
    wanted = set(re.findall(r"\bflink_(?:jobmanager|taskmanager)_\w+", rules))

    def missing() -> set[str]:
        text = httpx.get(f"http://{target}/metrics").text
        return {name for name in wanted if f"\n{name}{{" not in text}

    eventually(lambda: not missing(), PUSHED_WITHIN_S)


def stop_and_go_on(installation: Installation) -> None:
    """While Flink cleans, only what knows up to where it did may go on: the running job, or its savepoint."""
    assert_refused(installation, ["take-over"], "runs already", "headrace flink give-back")
    stopped = installation.told("flink", "stop", "clean")["savepoint"]
    assert Path(stopped.removeprefix("file:"), "_metadata").is_file()
    assert_refused(installation, ["savepoint", "clean"], "clean does not run")
    on = "headrace flink run clean --from-savepoint last"
    for command in ("take-over", "give-back"):
        assert_refused(installation, [command], on)
    shown = installation.told("flink", "run", "clean", "--from-savepoint", "last")
    assert_cleans(installation, "flink")
    address = json.loads((installation.home / "flink" / "stack.json").read_text())["address"]
    found = httpx.get(f"{address}/jobs/{shown['id']}/checkpoints").json()
    assert found["latest"]["restored"]["external_path"] == stopped


@contextlib.asynccontextmanager
async def publishing(load_of: Load) -> AsyncIterator[None]:
    """Publish for the length of a block."""
    task = asyncio.create_task(load_of.run())
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_a_job_that_does_not_run_is_not_given_back(installation: Installation) -> None:
    """Faust cleans, and goes on."""
    assert_refused(installation, ["give-back"], "Faust cleans already", "headrace status")


def test_too_few_slots_are_told_before_anything_stops(installation: Installation) -> None:
    """The worker is the same process afterwards."""
    assert_refused(installation, ["take-over", "--parallelism", "3"], "slots", "--taskmanagers")


async def test_every_event_is_cleaned_once_while_commands_move_it(
    installation: Installation, switches: int
) -> None:
    """There and back with no pause in what is published; each engine cleans, and both statuses say which."""
    settings = installation.settings
    load_of = Load(settings)
    async with publishing(load_of):
        seen = 0
        for number in range(switches):
            seen = (await dealt_with(settings, seen + AT_LEAST)).accounted
            move = take_over if number % 2 == 0 else give_back
            await asyncio.to_thread(move, installation)
            if number == 0:
                await dealt_with(settings, seen + AT_LEAST)
                await asyncio.to_thread(assert_measured, installation)
                await asyncio.to_thread(stop_and_go_on, installation)
        await dealt_with(settings, seen + AT_LEAST)
    assert_once(await dealt_with(settings, load_of.published), load_of)
    if switches % 2:
        await asyncio.to_thread(give_back, installation)
        assert_once(await committed(settings), load_of)
