"""Which engine cleans in a data folder: consumes an operator's choice, produces a worker started or stopped.

The choice is written into ``HOME/cleaning.json``, where it outlives the stack. The supervisor of `headrace
up` looks at it again and again; while Flink cleans, it leaves the `streams` worker out.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Final

from infra.cli.worker import Worker
from infra.local.home import write_json
from infra.local.stack import Stack
from infra.local.workers import worker_specs

_WORKER: Final = Worker.STREAMS
_DOWN: Final = frozenset({"stopped", "failed"})


class Engine(StrEnum):
    """What runs the cleaning stage."""

    FAUST = "faust"
    FLINK = "flink"


def engine_of(home: Path) -> Engine:
    """Return the engine that was chosen; without a choice it is the worker of `headrace up`."""
    try:
        return Engine(json.loads(_record(home).read_text(encoding="utf-8"))["engine"])
    except FileNotFoundError:
        return Engine.FAUST


def choose(home: Path, engine: Engine) -> None:
    """Write down which engine cleans from now on; a running supervisor follows within a moment."""
    home.mkdir(parents=True, exist_ok=True)
    write_json(_record(home), {"engine": engine.value})


def workers_of(home: Path) -> list[Worker]:
    """Return the workers that run beside the services: all, but for one whose work Flink does."""
    left_out = {_WORKER} if engine_of(home) is Engine.FLINK else set()
    return [worker for worker in Worker if worker not in left_out]


def follow(stack: Stack, home: Path) -> None:
    """Start or stop the worker if another engine was chosen since; called by the supervisor."""
    runs = any(seen.name == _WORKER and seen.state not in _DOWN for seen in stack.processes())
    wanted = _WORKER in workers_of(home)
    if wanted and not runs:
        (spec,) = worker_specs(home, workers=[_WORKER])
        stack.add_worker(spec)
    elif runs and not wanted:
        stack.remove_worker(_WORKER)


def _record(home: Path) -> Path:
    return home / "cleaning.json"
