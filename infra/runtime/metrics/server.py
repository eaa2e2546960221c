"""Serves a worker's metrics: its counters in, Prometheus' text format on `/metrics` out.

Every process has its own loopback port (HEADRACE_METRICS_HOST and HEADRACE_METRICS_PORT say otherwise; port
0, the default, is any free one; `off` serves nothing) and says where it listens in a file of its own below
`HOME/metrics`, in the form of Prometheus' file-based discovery, so that one scrape job finds all of them.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import Gauge, start_http_server

from infra.runtime.log import get_logger
from schemas.errors import Fatal

_log = get_logger(__name__)
_LOOPBACK: Final = "127.0.0.1"
_UP: Final = Gauge("headrace_worker_info", "1 in every running worker", ["worker"])


class Target(msgspec.Struct, frozen=True):
    """A file of discovery: one list entry, its address and the labels that every series of it gets."""

    targets: tuple[str, ...]
    labels: dict[str, str] = {}


@contextlib.contextmanager
def serve(home: Path, worker: str, environ: Mapping[str, str] = os.environ) -> Iterator[str]:
    """Serve the metrics of this process for the length of a block; yields the URL, empty when switched off.

    Raises:
        Fatal: the port that was asked for is taken, or is no port.
    """
    given = environ.get("HEADRACE_METRICS_PORT", "0")
    if given == "off":
        yield ""
        return
    if not given.isdecimal() or int(given) > 65_535:
        raise Fatal(f"HEADRACE_METRICS_PORT is {given!r}; write a port, 0 for any free one, or off")
    host = environ.get("HEADRACE_METRICS_HOST") or _LOOPBACK
    try:
        server, thread = start_http_server(int(given), host)
    except OSError as error:
        raise Fatal(f"metrics cannot be served on {host}:{given}: {error.strerror}") from error
    address = f"{host}:{server.server_port}"
    try:
        _UP.labels(worker).set(1)
        announce(home, worker, address)
        _log.info("metrics.served", url=f"http://{address}/metrics")
        yield f"http://{address}/metrics"
    finally:
        _record(home, worker).unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        thread.join()


def folder(home: Path) -> Path:
    """Return where the workers of a data folder say that they serve metrics."""
    return home / "metrics"


def addresses(home: Path) -> dict[str, str]:
    """Return the metrics' URL of every worker of a data folder, by `worker-pid`; dead ones are left out."""
    found = {}
    for record in sorted(folder(home).glob("*.json")):
        pid = record.stem.rpartition("-")[2]
        if pid.isdecimal() and Path("/proc").is_dir() and not Path("/proc", pid).is_dir():
            continue  # killed: its successor or `serve` of the same worker clears it away
        try:
            (target,) = msgspec.json.decode(record.read_bytes(), type=tuple[Target])
        except (OSError, msgspec.DecodeError):
            continue  # it ended, or is no record of ours
        found[record.stem] = f"http://{target.targets[0]}/metrics"
    return found


def announce(home: Path, worker: str, address: str) -> Path:
    """Say in a file where this process serves metrics, and return the file, to be taken away at the end.

    It is written in one step; those that killed workers of this name left are cleared away.
    """
    record = _record(home, worker)
    record.parent.mkdir(parents=True, exist_ok=True)
    for other in record.parent.glob(f"{worker}-*.json"):
        pid = other.stem.rpartition("-")[2]
        if pid.isdecimal() and not Path("/proc", pid).is_dir():
            other.unlink(missing_ok=True)
    scratch = record.with_name(f".{record.name}.part")
    scratch.write_bytes(msgspec.json.encode([Target((address,), {"worker": worker})]))
    scratch.replace(record)
    return record


def _record(home: Path, worker: str) -> Path:
    return folder(home) / f"{worker}-{os.getpid()}.json"
