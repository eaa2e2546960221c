"""Runs the warehouse's HTTP front until a signal, then lets running queries end and closes the engine."""

import asyncio
import signal
from pathlib import Path

from aiohttp import web

from infra.local.ports import LOOPBACK
from infra.local.warehouse.engine import Engine
from infra.local.warehouse.front import Front
from infra.local.warehouse.users import Users
from infra.runtime import log as logs

log = logs.get_logger(__name__)

DRAIN_S = 20.0


def serve(path: Path, port: int, users_file: Path | None, *, max_body_bytes: int, max_running: int) -> None:
    """Open the folder and answer on ``127.0.0.1:port`` until a signal."""
    logs.configure("clickhouse")
    users = Users() if users_file is None else Users.from_file(users_file)
    engine = Engine(path)
    try:
        asyncio.run(_serve(engine, users, port, max_body_bytes, max_running))
    finally:
        engine.close()
    log.info("warehouse.stopped")


async def _serve(engine: Engine, users: Users, port: int, max_body_bytes: int, max_running: int) -> None:
    front = Front(engine, users, max_body_bytes=max_body_bytes, max_running=max_running)
    # Bodies are decoded piece by piece in the query's own thread, never by the event loop.
    runner = web.AppRunner(
        front.app(), access_log=None, handle_signals=False, shutdown_timeout=DRAIN_S, auto_decompress=False
    )
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port, backlog=512).start()
    log.info("warehouse.started", port=port, version=engine.version)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, stop.set)
    await stop.wait()
    await runner.cleanup()
