"""The dedupe benchmark: consumes a number of keys, produces memory, speed, pauses and recovery times.

A child fills state and log as a worker does and is killed with SIGKILL; a second one recovers from snapshot
and log, a third from the log alone. The brokers are real: a local Kafka of its own, or the one it is given.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from aiokafka.admin import AIOKafkaAdminClient

from infra.bench.dedupe.child import Order
from infra.bench.dedupe.lane import PARTITIONS, config
from infra.local.stack import Stack, StackSettings
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.settings import Endpoints, Settings
from schemas.errors import Fatal
from schemas.topics import TOPICS

Progress = Callable[[str], None]
_ELSEWHERE: Final = "unused://"


class Trial(msgspec.Struct, frozen=True):
    """A run of the benchmark: how many keys, its own data folder, and Kafka (empty: one of its own)."""

    keys: int
    home: Path
    kafka: str = ""


def measure(trial: Trial, progress: Progress) -> dict[str, Any]:
    """Run the trial and return its figures.

    Raises:
        Fatal: a child failed.
    """
    home = trial.home.absolute()
    for part in ("dedupe", "state"):
        shutil.rmtree(home / part, ignore_errors=True)
    home.mkdir(parents=True, exist_ok=True)
    with _brokers(trial, home, progress) as kafka:
        prefix = f"bench-{uuid.uuid4().hex[:8]}."
        settings = Settings(home / "state", config(prefix), Endpoints(kafka, "", ""))
        asyncio.run(create_topics(settings))
        try:
            return _measure(trial, settings, kafka, progress)
        finally:
            asyncio.run(_delete_topics(settings))


def _measure(trial: Trial, settings: Settings, kafka: str, progress: Progress) -> dict[str, Any]:
    def order(task: str, folder: str) -> Order:
        home = settings.home / folder
        return Order(task, str(home), kafka, settings.config.topic_prefix, trial.keys, ends_s)

    ends_s = time.time()
    progress(f"filling {trial.keys:,} keys over a whole window, {PARTITIONS} partitions")
    filled = _run(order("fill", "filled"), progress, kill=True)
    progress("killed with SIGKILL; recovering from the snapshot and the log behind it")
    snapshot = _run(order("recover+expire", "filled"), progress)
    progress("recovering from the log alone")
    log = _run(order("recover", "empty"), progress)
    shutil.rmtree(settings.home, ignore_errors=True)
    return _figures(trial.keys, filled, snapshot, log)


def _figures(
    keys: int, filled: dict[str, Any], snapshot: dict[str, Any], log: dict[str, Any]
) -> dict[str, Any]:
    """Put the children's answers together; of pauses the longest, by the wall clock and the processor's."""
    kinds = ("insert", "lookup", "expire")
    pauses = {
        how: {k: max(child["pauses"][k][how] for child in (filled, snapshot)) for k in kinds}
        for how in ("wall", "cpu")
    }
    runs = (filled, snapshot, log)
    return {
        "keys": keys,
        "rss_bytes": max(run["rss_bytes"] for run in runs),
        "table_bytes": filled["table_bytes"],
        "bytes_per_key": filled["table_bytes"] / keys,
        "insert_us": filled["insert_us"],
        "insert_last_tenth_us": filled["insert_last_tenth_us"],
        "fingerprint_us": filled["fingerprint_us"],
        "lookup_us": filled["lookup_us"],
        "longest_pause_ms": pauses["wall"],
        "longest_pause_cpu_ms": pauses["cpu"],
        "recovery_s": {"snapshot": snapshot["recovery_s"], "log": log["recovery_s"]},
        "recovered": {"snapshot": snapshot["restored"], "log": log["restored"]},
        "snapshot_write_s": filled["snapshot_write_s"],
        "rss_after_expiry_bytes": snapshot["rss_after_expiry_bytes"],
        "false_positives": sum(run["false_positives"] for run in runs),
        "false_negatives": sum(run["false_negatives"] for run in runs),
    }


def _run(order: Order, progress: Progress, *, kill: bool = False) -> dict[str, Any]:
    """Run a child to its last line, pass its progress on, and kill it if asked to.

    Raises:
        Fatal: it ended without its figures.
    """
    command = [sys.executable, "-m", "infra.bench.dedupe.child", msgspec.json.encode(order).decode()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        try:
            for line in child.stdout or ():
                said = _said(line)
                if said.get("done"):
                    if kill:
                        child.send_signal(signal.SIGKILL)
                    return said
                if "filled" in said:
                    progress(f"{said['filled']:>13,} keys  {said['rss_bytes'] / 2**20:8,.0f} MiB")
        finally:
            child.kill() if kill or sys.exc_info()[0] else None
            child.wait()
    raise Fatal(f"the child for {order.task} ended with status {child.returncode} and without figures")


def _said(line: bytes) -> dict[str, Any]:
    """Return what a child said; log lines of the worker's classes say nothing."""
    try:
        said = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return {}
    return said if isinstance(said, dict) else {}


@contextmanager
def _brokers(trial: Trial, home: Path, progress: Progress) -> Iterator[str]:
    if trial.kafka:
        yield trial.kafka
        return
    settings = StackSettings(redis=_ELSEWHERE, clickhouse=_ELSEWHERE, usual_ports=False)
    with Stack(home, settings=settings, progress=progress) as stack:
        yield stack.endpoints.kafka


async def _delete_topics(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.endpoints.kafka)
    async with connected(admin):
        await admin.delete_topics([settings.topic(topic) for topic in TOPICS])
