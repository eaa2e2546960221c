"""The engines that are compared: consumes a measurement's topics and folder, produces the processes to run.

Every engine is one worker process with one thread for the work; Flink is one TaskManager with two tasks.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.bench.streams import flink
from infra.bench.streams.channel import Names
from infra.bench.streams.environments import Say, environment
from infra.cli.worker import Worker
from infra.local.ports import PortLease
from infra.local.process import ProcessSpec
from infra.local.workers import worker_specs
from infra.runtime.settings import DEFAULT_CONFIG

HEADRACE: Final = "headrace"
AT_LEAST_ONCE: Final = "headrace_at_least_once"
FLINK: Final = "headrace_flink"
FLINK_SQL: Final = "flink_sql"
_PEERS: Final = Path(__file__).with_name("peers")


@dataclass(frozen=True)
class Place:
    """Where an engine works: the broker, the topics, an empty folder, and the folder of the environments."""

    kafka: str
    names: Names
    folder: Path
    environments: Path
    say: Say


@dataclass(frozen=True)
class Started:
    """The processes of an engine in the order of starting, and the ports that are theirs meanwhile."""

    specs: Sequence[ProcessSpec]
    leases: Sequence[PortLease] = ()


@dataclass(frozen=True)
class Engine:
    """An engine that is compared.

    `share` of the events is what it is given, so that a round takes it about ten seconds; `warm_up` of that
    share comes before, untimed.
    """

    name: str
    title: str
    guarantee: str
    share: float
    start: Callable[[Place], Started]
    warm_up: float = 0.2


def _headrace(place: Place) -> Started:
    spec = _worker(place)
    return Started([spec])


def _at_least_once(place: Place) -> Started:
    spec = _worker(place)
    argv = [sys.executable, "-m", "infra.bench.streams.at_least_once"]
    return Started([dataclasses.replace(spec, argv=argv)])


def _worker(place: Place) -> ProcessSpec:
    """Return the real `streams` worker with the built-in configuration, on the measurement's topics."""
    config = place.folder / "headrace.toml"
    config.write_text(f'topic_prefix = "{place.names.prefix}"\n{DEFAULT_CONFIG}', encoding="utf-8")
    (spec,) = worker_specs(place.folder, str(config), [Worker.STREAMS])
    nowhere = {
        "HEADRACE_REDIS": "redis://127.0.0.1:1/0",
        "HEADRACE_CLICKHOUSE": "http://default:@127.0.0.1:1",
    }
    return dataclasses.replace(
        spec, env={**spec.env, "HEADRACE_KAFKA": place.kafka, **nowhere}, restart=False
    )


def _bytewax(place: Place) -> Started:
    python = environment("bytewax", place.environments, place.say) / "python"
    store = place.folder / "recovery"
    store.mkdir()
    subprocess.run([str(python), "-m", "bytewax.recovery", str(store), "1"], check=True)
    argv = [str(python), "-m", "bytewax.run", "bytewax_job:flow", "-w", "1", "-r", str(store)]
    return Started([_peer(place, "bytewax", [*argv, "-s", "10", "-b", "0"], {"PYTHONPATH": str(_PEERS)})])


def _quix(place: Place) -> Started:
    python = environment("quix", place.environments, place.say) / "python"
    return Started([_peer(place, "quix", [str(python), str(_PEERS / "quix_job.py")])])


def _faust(place: Place) -> Started:
    argv = [sys.executable, str(_PEERS / "faust_job.py"), "worker", "-l", "info", "--without-web"]
    return Started([_peer(place, "faust", argv)])


def _flink(place: Place) -> Started:
    names = place.names
    values = {"kafka": place.kafka, "input": names.input, "output": names.output, "group": names.group}
    cluster = flink.cluster(place.folder / "flink", values, place.environments, place.say)
    return Started(cluster.processes, cluster.leases)


def _headrace_flink(place: Place) -> Started:
    config = place.folder / "headrace.toml"
    config.write_text(f'topic_prefix = "{place.names.prefix}"\n{DEFAULT_CONFIG}', encoding="utf-8")
    arguments = ["--bootstrap", place.kafka, "--config", str(config), "--checkpoint-ms", "1000"]
    cluster = flink.headrace(place.folder / "flink", arguments, place.say)
    return Started(cluster.processes, cluster.leases)


def _peer(place: Place, name: str, argv: Sequence[str], more: Mapping[str, str] | None = None) -> ProcessSpec:
    """Return a peer's process, told by its environment where to work."""
    told = {
        "BENCH_KAFKA": place.kafka,
        "BENCH_INPUT": place.names.input,
        "BENCH_OUTPUT": place.names.output,
        "BENCH_GROUP": place.names.group,
        "BENCH_PARTITIONS": str(place.names.partitions),
        "BENCH_FOLDER": str(place.folder),
        "PATH": os.environ.get("PATH", ""),
    }
    log = place.folder / "log" / f"{name}.log"
    return ProcessSpec(
        name=name, argv=argv, log_path=log, env={**told, **(more or {})}, restart=False, cwd=place.folder
    )


ENGINES: Final[Mapping[str, Engine]] = {
    engine.name: engine
    for engine in (
        Engine(HEADRACE, "Headrace", "exactly once", 1.0, _headrace),
        Engine(
            AT_LEAST_ONCE,
            "Headrace, at least once",
            "at least once (offsets committed at most 100 ms apart)",
            1.0,
            _at_least_once,
        ),
        Engine(
            FLINK,
            "Headrace on Flink 2.3.0 (two tasks)",
            "exactly once (checkpoint and commit each second)",
            1.0,
            _headrace_flink,
            warm_up=0.6,  # a JVM compiles what it has run often
        ),
        Engine(
            FLINK_SQL,
            "Flink SQL 2.3.0 (two tasks)",
            "exactly once (checkpoint and commit each second)",
            1.0,
            _flink,
            warm_up=0.6,
        ),
        Engine(
            "bytewax",
            "Bytewax 0.21.1",
            "at least once (recovery store written every 10 s)",
            0.3,
            _bytewax,
        ),
        Engine("quix", "Quix Streams 3.28.1", "exactly once (commit each second)", 0.12, _quix),
        Engine(
            "faust",
            "Faust 0.15.3, plain agent",
            "at least once (its exactly_once loses and doubles)",
            0.015,
            _faust,
        ),
    )
}
