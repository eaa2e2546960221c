"""`headrace worker NAME`: runs one worker in this process, as the stack's supervisor does."""

import asyncio
import contextlib
import gc
import importlib
import signal
import sys
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Annotated

import typer


class Worker(StrEnum):
    """The workers there are, in the order of an event's way."""

    STREAMS = "streams"
    SINK = "sink"
    SERVING = "serving"
    DRIFT = "drift"
    TRAINER = "trainer"
    GATEWAY = "gateway"
    SOURCES = "sources"


_ENTRY = {
    Worker.STREAMS: "streams.apps.clean:main",
    Worker.SINK: "streams.sink:run",
    Worker.SERVING: "serving.consumer:run",
    Worker.DRIFT: "streams.apps.drift:run",
    Worker.TRAINER: "trainers.worker:run",
    Worker.GATEWAY: "serving.gateway.app:run",
    Worker.SOURCES: "streams.sources:run",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("worker")(worker)


def worker(name: Annotated[Worker, typer.Argument(help="which worker to run")]) -> None:
    """Run one worker in the foreground until Ctrl-C or SIGTERM; `headrace up` runs them all."""
    from infra.runtime import log, settings
    from infra.runtime.hot import level_of
    from infra.runtime.metrics.server import serve
    from schemas.errors import Fatal, HeadraceError

    log.configure(name.value)
    logger = log.get_logger("infra.cli.worker")
    try:
        module, _, function = _ENTRY[name].partition(":")
        entry = getattr(importlib.import_module(module), function)
        loaded = settings.load()
        log.set_level(level_of(loaded.config, name.value))
        _spare_the_collector()
        with serve(loaded.home, name.value):
            if asyncio.iscoroutinefunction(entry):
                asyncio.run(_until_signalled(lambda: entry(loaded)))
            else:
                entry(loaded)
    except Fatal as error:
        logger.error("worker.stopped", reason=str(error))
        sys.exit(2)
    except HeadraceError as error:
        logger.error("worker.failed", reason=str(error))
        sys.exit(1)


def _spare_the_collector() -> None:
    """Let the garbage collector look at what batches leave, and seldom.

    What is loaded by now stays for good. A batch makes tens of thousands of objects that reference counting
    frees; at the usual threshold of 700 the collector would traverse them, and all the rest, over and over: a
    quarter of the cleaning stage's CPU time. At 10,000 it still comes often enough for what libraries leave
    in cycles: an insert into ClickHouse leaves some kilobytes, which were megabytes a minute at 200,000.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


async def _until_signalled(run: Callable[[], Awaitable[None]]) -> None:
    """Cancel the worker on SIGTERM or SIGINT and wait until it has closed cleanly."""
    task = asyncio.ensure_future(run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):  # a signalled stop is how a worker ends well
        await task
