"""A stack of a benchmark's own: consumes its folder and configuration, runs a measurement inside it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from infra.cli.worker import Worker
from infra.local.stack import Stack, StackSettings
from infra.local.workers import worker_specs
from infra.runtime.settings import Settings, load

T = TypeVar("T")

Say = Callable[[str], None]


def inside(
    home: Path,
    config: Path,
    workers: Sequence[Worker],
    measure: Callable[[Settings, Stack], Awaitable[T]],
    say: Say,
) -> T:
    """Start services and workers on ports of their own, run `measure`, and stop everything again.

    SIGTERM ends the run as Ctrl-C does: in order. Services that the environment names are used as they are.

    Raises:
        HeadraceError: the stack did not start.
    """
    given = StackSettings.from_environment()
    services = StackSettings(given.kafka, given.redis, given.clickhouse, usual_ports=False)
    with Stack(home, worker_specs(home, str(config), workers), services, progress=say) as stack:
        environment = {"HEADRACE_HOME": str(home), "HEADRACE_CONFIG": str(config)}
        settings = load({**os.environ, **environment})
        return asyncio.run(terminable(lambda: measure(settings, stack)))


async def terminable(measure: Callable[[], Awaitable[T]]) -> T:
    """Let SIGTERM end a run as Ctrl-C does: in order."""
    task = asyncio.ensure_future(measure())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task
