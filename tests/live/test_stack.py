"""The local stack as a whole: it comes up, data survive a restart and kills, nothing is left running."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.local.errors import NotRunningError
from infra.local.home import is_alive
from infra.local.process import ProcessSpec
from infra.local.stack import Endpoints, Stack, StackSettings, endpoints
from tests.waiting import eventually

APP = "import typer; from infra.cli import stack; app = typer.Typer(); stack.register(app); app()"


def headrace(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the stack's commands as a user does."""
    return subprocess.run(
        [sys.executable, "-c", APP, *args], capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose stack is down after the test."""
    yield tmp_path / "home"
    headrace("down", "--home", str(tmp_path / "home"))


async def put(at: Endpoints, topic: str, value: bytes) -> None:
    """Leave one datum in each service."""
    admin = AIOKafkaAdminClient(bootstrap_servers=at.kafka)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=at.kafka, acks="all")
    await producer.start()
    await producer.send_and_wait(topic, value)
    await producer.stop()
    redis.Redis.from_url(at.redis).set(topic, value)
    async with httpx.AsyncClient(base_url=at.clickhouse, timeout=30) as http:
        for sql in (
            f"CREATE TABLE {topic} (s String) ENGINE = MergeTree ORDER BY s",
            f"INSERT INTO {topic} VALUES ('{value.decode()}')",
        ):
            (await http.post("/", content=sql)).raise_for_status()


async def get(at: Endpoints, topic: str) -> list[bytes]:
    """Read the datum from each service."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=at.kafka, auto_offset_reset="earliest")
    await consumer.start()
    record = await consumer.getone()
    await consumer.stop()
    async with httpx.AsyncClient(base_url=at.clickhouse, timeout=30) as http:
        row = (await http.post("/", content=f"SELECT s FROM {topic}")).content.strip()
    kept: Any = redis.Redis.from_url(at.redis).get(topic)
    return [record.value, kept, row]


def alive(record: dict[str, Any]) -> list[str]:
    """The recorded processes that still live."""
    return [p["name"] for p in record["processes"] if p["pid"] and is_alive(p["pid"], p["pid_started"])]


@pytest.mark.timeout(240)  # three JVMs start one after the other
async def test_data_survive_a_killed_supervisor_and_a_stop_leaves_nothing(home: Path, unique: str) -> None:
    """Records, keys and rows survive kill -9 of the supervisor; ports stay; no process is left."""
    up = headrace("up", "--home", str(home), "--no-workers", "--json")
    assert up.returncode == 0, up.stderr + up.stdout
    first = json.loads(up.stdout)
    at = endpoints(home)
    await put(at, unique, b"kept")
    assert headrace("up", "--home", str(home), "--no-workers").returncode == 1
    os.kill(first["supervisor_pid"], signal.SIGKILL)
    eventually(lambda: not alive(first), 10)
    assert headrace("status", "--home", str(home)).returncode == 1

    again = headrace("up", "--home", str(home), "--no-workers", "--json")
    assert again.returncode == 0, again.stderr + again.stdout
    second = json.loads(again.stdout)
    assert endpoints(home) == at
    assert await get(at, unique) == [b"kept"] * 3
    shown = headrace("status", "--home", str(home), "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["healthy"]

    downed = headrace("down", "--home", str(home), "--json")
    assert sorted(json.loads(downed.stdout)["stopped"]) == ["clickhouse", "kafka", "redis"]
    assert alive(second) == []
    assert not (home / "stack.json").exists()
    with pytest.raises(NotRunningError):
        endpoints(home)
    assert headrace("down", "--home", str(home)).returncode == 0


def test_existing_services_are_used_and_workers_run_beside(tmp_path: Path, stack: Endpoints) -> None:
    """With all three addresses given only the workers run; they can be added, killed and removed."""
    told = tmp_path / "told"
    code = "import pathlib, signal, sys; pathlib.Path(sys.argv[1]).touch(); signal.pause()"
    worker = ProcessSpec(
        "sink", [sys.executable, "-c", code, str(told)], tmp_path / "sink.log", ready=told.exists
    )
    settings = StackSettings(stack.kafka, stack.redis, stack.clickhouse)
    with Stack(tmp_path / "home", workers=lambda: [worker], settings=settings) as own:
        assert own.endpoints == endpoints(tmp_path / "home") == stack
        assert [process.name for process in own.processes()] == ["sink"]
        first = own.kill("sink")
        eventually(lambda: own.processes()[0].restarts == 1 and own.processes()[0].pid not in (None, first))
        own.add_worker(ProcessSpec("more", worker.argv, tmp_path / "more.log"))
        own.remove_worker("more")
        assert [process.state for process in own.processes()] == ["running", "stopped"]
        pid = own.processes()[0].pid
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_doctor_finds_this_machine_fit(tmp_path: Path) -> None:
    """Every check says something, and nothing is wrong where the tests run."""
    told = headrace("doctor", "--home", str(tmp_path), "--json")
    checks = json.loads(told.stdout)["checks"]
    assert {check["name"] for check in checks} >= {
        "java",
        "kafka",
        "redis",
        "clickhouse",
        "base model",
        "headrace.toml",
    }
    assert [check for check in checks if not check["ok"]] == []
    assert told.returncode == 0
