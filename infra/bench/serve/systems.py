"""The systems that are compared: consumes a place to work in, produces a running server and how it is asked.

Every server runs on this machine alone meanwhile and may answer as many rows at once as there are cores.
"""

import http.client
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from infra.bench.serve.models import Row, folder_of
from infra.bench.serve.ours import gateway
from infra.bench.serve.plan import NAME, Scenario, ServePlan, cores
from infra.bench.stack import Say
from infra.bench.streams.environments import installed
from infra.local.ports import LOOPBACK, lease_port
from infra.local.process import ProcessSpec, Supervisor
from schemas.release import Release

HEADRACE: Final = "headrace"
SESSION: Final = "session"
PEERS: Final = Path(__file__).with_name("peers")
_ASK_S: Final = 0.45
_START_S: Final = 150.0
_END_S: Final = 5.0


@dataclass(frozen=True)
class Place:
    """Where a system works: an empty folder, the model, and what is said meanwhile."""

    plan: ServePlan
    folder: Path
    model: Release
    example: Row
    say: Say

    @property
    def environment(self) -> dict[str, str]:
        """Return what tells a peer's program about its work, without a port."""
        served = "" if self.plan.scenario is Scenario.NULL else str(folder_of(self.model))
        return {
            "BENCH_MODEL": served,
            "BENCH_ROW": "text" if isinstance(self.example, str) else "readings",
            "BENCH_CORES": str(cores()),
            "PYTHONPATH": str(PEERS),
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }


@dataclass(frozen=True)
class Running:
    """A server that answers: its port, its first process's id, and headers that its callers must send."""

    port: int
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)


Command = Callable[[Path, int, int, Path], Sequence[str]]
"""The `bin` folder of the environment, its port, a spare one and the working folder in, the arguments out."""


@dataclass(frozen=True)
class System:
    """A server that is compared. `command` is None for Headrace, which is started as a stack."""

    name: str
    title: str
    path: str
    command: Command | None
    body: Callable[[Row], Any]

    def payload(self, row: Row) -> bytes:
        """Return the JSON body that asks for one row."""
        return json.dumps(self.body(row), ensure_ascii=False, separators=(",", ":")).encode()


def _plain(row: Row) -> Any:
    return {"row": row}


def _tensor(row: Row) -> Any:
    """Return a request of the Open Inference Protocol v2."""
    name, kind, shape = ("text", "BYTES", [1]) if isinstance(row, str) else ("values", "FP64", [1, len(row)])
    return {
        "inputs": [
            {"name": name, "datatype": kind, "shape": shape, "data": [row] if isinstance(row, str) else row}
        ]
    }


def _script(name: str) -> Command:
    def command(folder: Path, port: int, spare: int, work: Path) -> list[str]:
        return [str(folder / "python"), str(PEERS / f"{name}_server.py")]

    return command


def _bentoml(folder: Path, port: int, spare: int, work: Path) -> list[str]:
    serve = [str(folder / "bentoml"), "serve", "bentoml_server:Judge", "--working-dir", str(PEERS)]
    return [*serve, "--host", LOOPBACK, "--port", str(port)]


def _mlserver(folder: Path, port: int, spare: int, work: Path) -> list[str]:
    settings = {
        "host": LOOPBACK, "http_port": port, "grpc_port": spare, "metrics_endpoint": None,
        "parallel_workers": cores(), "debug": False,
    }  # fmt: skip
    model = {"name": NAME, "implementation": "mlserver_runtime.Judge"}
    (work / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (work / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    return [str(folder / "mlserver"), "start", str(work)]


_OURS: Final = f"/v2/models/{NAME}/infer"
SYSTEMS: Final[Mapping[str, System]] = {
    system.name: system
    for system in (
        System(HEADRACE, "Headrace's gateway", _OURS, None, _tensor),
        System("fastapi", "FastAPI 0.165.0, plain handler", "/predict", _script("fastapi"), _plain),
        System("mosec", "Mosec 0.9.8", "/inference", _script("mosec"), _plain),
        System("litserve", "LitServe 0.2.19", "/predict", _script("litserve"), _plain),
        System("bentoml", "BentoML 1.4.40", "/predict", _bentoml, _plain),
        System("ray_serve", "Ray Serve 2.60.0", "/predict", _script("ray_serve"), _plain),
        System("mlserver", "MLServer 1.7.1", _OURS, _mlserver, _tensor),
    )
}
NAMES: Final = (SESSION, *SYSTEMS)


def prepare(name: str, environments: Path, say: Say) -> None:
    """Install a peer's environment where it is missing; Headrace and the session need none.

    Raises:
        StackError: it cannot be installed.
    """
    if name in SYSTEMS and name != HEADRACE:
        _bin(name, environments, say)


@contextmanager
def running(system: System, place: Place) -> Iterator[Running]:
    """Start a system, wait until it answers, and end every process of it afterwards.

    Raises:
        StackError: it did not start, or does not answer.
    """
    if system.command is None:
        with gateway(place.plan, place.model, partial(_answers, system, place)) as ours:
            yield Running(*ours)
        return
    lease, spare = lease_port(), lease_port()
    folder = _bin(system.name, place.plan.home / "environments", place.say)
    short = Path(tempfile.mkdtemp(prefix="hr-"))  # Ray's sockets have paths of at most 107 bytes
    spec = ProcessSpec(
        name=system.name,
        argv=system.command(folder, lease.port, spare.port, place.folder),
        log_path=place.folder / f"{system.name}.log",
        ready=lambda: _answers(system, place, lease.port, {}),
        env={
            **place.environment,
            "BENCH_PORT": str(lease.port),
            "BENCH_SHORT_FOLDER": str(short),
            "BENTOML_HOME": str(place.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            "PATH": os.environ.get("PATH", ""),
        },
        restart=False,
        cwd=place.folder,
        ready_timeout_s=_START_S,
    )  # fmt: skip
    supervisor = Supervisor()
    family: list[psutil.Process] = []
    try:
        supervisor.start(spec)
        supervisor.wait_ready(spec.name)
        (state,) = supervisor.states()
        yield Running(lease.port, state.pid or 0)
    finally:
        for state in supervisor.states():
            family += kin(state.pid)
        supervisor.stop_all()
        _end(family)
        lease.release()
        spare.release()
        shutil.rmtree(short, ignore_errors=True)


def kin(pid: int | None) -> list[psutil.Process]:
    """Return a process with all its descendants that live now."""
    with suppress(psutil.NoSuchProcess):
        if pid:
            process = psutil.Process(pid)
            return [process, *process.children(recursive=True)]
    return []


def _end(family: Sequence[psutil.Process]) -> None:
    """Kill what outlived its parent: LitServe's workers do, and Ray's daemons if it was cut short."""
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=_END_S)


def _bin(name: str, environments: Path, say: Say) -> Path:
    lock = (PEERS / f"{name}.lock").read_text(encoding="utf-8").splitlines()
    return installed(f"serve-{name}", lock, environments, say)


def _answers(system: System, place: Place, port: int, given: Mapping[str, str]) -> bool:
    """Tell whether a system answers the example well."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_ASK_S)
    try:
        headers = {"content-type": "application/json", **given}
        connection.request("POST", system.path, system.payload(place.example), headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
