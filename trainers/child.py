"""The worker's hold on its training process: consumes run folders, produces their outcomes or a reason."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from infra.runtime.log import get_logger
from schemas.errors import Fatal, Retryable

_log = get_logger(__name__)
_LINE_BYTES = 1024 * 1024


class TrainerDied(Retryable):
    """The training process ended in the middle of a job, as when the machine is short of memory."""


class Child:
    """One process running `trainers.job`, started when it is first needed and again after it died."""

    def __init__(self, home: Path, threads: int) -> None:
        self._home = home
        self._threads = threads
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process if it is not running; it imports torch at once, for the first job's sake."""
        if self.pid is not None:
            return
        threads = {name: str(self._threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        environment = {**os.environ, **threads, "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "1")}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trainers.job", stdin=PIPE, stdout=PIPE, env=environment, limit=_LINE_BYTES
        )
        _log.info("trainer.process_started", pid=self._process.pid)

    async def train(self, run: Path, on_step: Callable[[str], Awaitable[None]], limit_s: float) -> Path:
        """Train a run folder and return the path of its outcome.

        Raises:
            Fatal: the training was refused or failed by itself; the message says why.
            TrainerDied: the process ended in the middle of the job.
            TimeoutError: it took longer than `limit_s`; the process was ended.
        """
        await self.start()
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise TrainerDied("the training process has no pipes")
        try:
            async with asyncio.timeout(limit_s):
                process.stdin.write(msgspec.json.encode({"run": str(run)}) + b"\n")
                await process.stdin.drain()
                while line := await process.stdout.readline():
                    message: dict[str, Any] = msgspec.json.decode(line)
                    if "done" in message:
                        return Path(message["done"])
                    if "error" in message:
                        raise Fatal(message["error"])
                    if message["step"] != "ready":
                        await on_step(message["step"])
        except (TimeoutError, asyncio.CancelledError):
            await self.close()  # a job half done must not go on behind the worker's back
            raise
        except (BrokenPipeError, ConnectionResetError) as error:
            raise TrainerDied("the training process died") from error
        raise TrainerDied(f"the training process ended with status {await process.wait()}")

    async def close(self) -> None:
        """End the process and wait for it."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself in this moment
                process.kill()
        await process.wait()
