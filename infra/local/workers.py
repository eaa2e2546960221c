"""Which workers run beside the local services, in the order of an event's way."""

import functools
import json
import socket
import sys
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from infra.cli.worker import Worker
from infra.local.process import ProcessSpec

# The workers share the machine's cores: none may spread one operation over all of them.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def worker_specs(
    home: Path, config: str = "", workers: Sequence[Worker] = tuple(Worker)
) -> list[ProcessSpec]:
    """Return the processes of the workers; each finds the services in the data folder's `stack.json`.

    `config` is the path of `headrace.toml`; empty leaves it to the environment and the current folder.
    """
    environment = {**_ONE_THREAD, "HEADRACE_HOME": str(home)}
    if config:
        environment["HEADRACE_CONFIG"] = config
    return [
        ProcessSpec(
            name=worker.value,
            argv=[sys.executable, "-m", "infra.cli", "worker", worker.value],
            env=environment,
            log_path=home / "log" / f"{worker.value}.log",
            ready=_READY.get(worker) and functools.partial(_READY[worker], home),
        )
        for worker in workers
    ]


def gateway_url(home: Path) -> str:
    """Return where the gateway of a data folder listens, or nothing while it does not."""
    return _gateway(home).get("url", "")


def gateway_grpc(home: Path) -> str:
    """Return where it answers by gRPC, `host:port`, or nothing while it does not."""
    return _gateway(home).get("grpc", "")


def _gateway(home: Path) -> dict[str, str]:
    try:
        record: dict[str, str] = json.loads((home / "gateway.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return record


def _gateway_listens(home: Path) -> bool:
    """Tell whether the gateway accepts connections; a killed one leaves its address behind."""
    address = urllib.parse.urlsplit(gateway_url(home))
    if not address.hostname or not address.port:
        return False
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((address.hostname, address.port)) == 0


_READY: Final[dict[Worker, Callable[[Path], bool]]] = {Worker.GATEWAY: _gateway_listens}
