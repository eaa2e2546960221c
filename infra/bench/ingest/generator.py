"""The load's process as a benchmark sees it: starts it, reads what it says, ends it."""

import asyncio
import os
import sys
from collections.abc import Sequence

import msgspec

from infra.bench.ingest.load import LoadSpec
from infra.local.stack import Stack
from schemas.errors import Retryable


async def started(spec: LoadSpec) -> asyncio.subprocess.Process:
    """Start the load."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "infra.bench.ingest.load", msgspec.json.encode(spec).decode()),
        stdout=asyncio.subprocess.PIPE,
    )


async def line(generator: asyncio.subprocess.Process) -> bytes:
    """Return the next line that the load says.

    Raises:
        Retryable: it ended instead.
    """
    said = b"" if generator.stdout is None else await generator.stdout.readline()
    if not said:
        raise Retryable(f"the load ended with status {await generator.wait()}; its error stands above")
    return said


async def ended(generator: asyncio.subprocess.Process) -> None:
    """End the load if it has not ended."""
    if generator.returncode is None:
        generator.terminate()
        await generator.wait()


async def cancelled(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel what watches the load, and wait for it; raises what a watcher failed with."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):  # a watcher that failed would leave the figures wrong
            raise result


def pids(stack: Stack, generator: int) -> dict[str, int]:
    """Return the processes of a run by name: the stack's, the load's and this one."""
    found = {state.name: state.pid for state in stack.processes() if state.pid is not None}
    return {**found, "load": generator, "bench": os.getpid()}
