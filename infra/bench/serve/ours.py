"""Headrace's own server: consumes a release, produces a gateway that answers for it, in a stack of its own.

Kafka, Redis and the gateway's worker run as `headrace up` runs them. The gateway asks for a key and counts
requests by Redis, as one that others can reach does. The release lies in the stack's folder and is announced
on `models.releases`, from where the gateway takes it.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from infra.bench.credential import key_for
from infra.bench.serve.models import home_of
from infra.bench.serve.plan import ServePlan
from infra.cli.worker import Worker
from infra.local.errors import StackError
from infra.local.home import Home, is_alive, read_record
from infra.local.stack import Stack, StackSettings
from infra.local.workers import gateway_url, worker_specs
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import load
from schemas.release import Release
from serving.gateway.scopes import Scope
from trainers.succession import announcement

_LOOK_EVERY_S: Final = 0.2
_WITHIN_S: Final = 120.0
_NOWHERE: Final = "http://default:@127.0.0.1:1"


class Ours(NamedTuple):
    """A gateway that answers: its port, its process id, and the headers that let a caller in."""

    port: int
    pid: int
    headers: Mapping[str, str]


@contextmanager
def gateway(
    plan: ServePlan, release: Release, answers: Callable[[int, Mapping[str, str]], bool]
) -> Iterator[Ours]:
    """Yield a gateway that serves the release, as `answers` has shown.

    ClickHouse is left out: no inference needs it.

    Raises:
        StackError: the stack did not start, or the gateway does not answer.
    """
    home = home_of(plan)
    _forget(home)
    headers = {"authorization": f"Bearer {key_for(home, Scope.PREDICT)}"}
    config = str(home / "headrace.toml")
    services = StackSettings(clickhouse=_NOWHERE, usual_ports=False)
    specs = worker_specs(home, config, [Worker.GATEWAY])
    with Stack(home, specs, services, progress=_silent) as stack:
        environment = {"HEADRACE_HOME": str(home), "HEADRACE_CONFIG": config}
        asyncio.run(_announce({**os.environ, **environment}, release))
        port = urlsplit(gateway_url(home)).port or 0
        _wait(lambda: answers(port, headers))
        (pid,) = (state.pid or 0 for state in stack.processes() if state.name == Worker.GATEWAY.value)
        yield Ours(port, pid, headers)


def _forget(home: Path) -> None:
    """Empty the stack's own data, or answers that Redis kept from the last time would be found again.

    Raises:
        StackError: a stack runs there.
    """
    record = read_record(Home(home))
    if record is not None and is_alive(record["supervisor_pid"], record["supervisor_started"]):
        raise StackError(f"a stack runs in {home}: HEADRACE_HOME={home} headrace down")
    for data in ("kafka", "redis"):
        shutil.rmtree(home / data, ignore_errors=True)


def _silent(_: str) -> None:
    """Say nothing of a start that every round has."""


async def _announce(environment: dict[str, str], release: Release) -> None:
    async with Publisher(load(environment), "headrace-bench-serve") as publisher:
        await publisher.send(announcement(release))


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not holds():
        if time.monotonic() > deadline:
            raise StackError(f"the gateway did not answer within {_WITHIN_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)
