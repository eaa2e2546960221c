"""The supervisor that ``headrace flink up`` detaches: ``python -m infra.flink.supervise HOME SHAPE``.

It leases the ports, lays the cluster out, keeps its processes alive and writes what runs into
``HOME/flink/stack.json``, until SIGTERM or SIGINT. SHAPE is a JSON object with the fields of `Shape`.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from infra.flink.cluster import PORTS, Shape, cluster_layout, cluster_specs
from infra.flink.metrics import gateway
from infra.local import home as homes
from infra.local.detached import say
from infra.local.errors import AlreadyRunningError, StackError
from infra.local.home import Home, HomeLock
from infra.local.ports import LOOPBACK, lease_port
from infra.local.process import Supervisor
from infra.runtime import log

_log = log.get_logger(__name__)


def place_of(home: Path) -> Home:
    """Return where the cluster of a data folder lies."""
    return Home(home.absolute() / "flink")


def locked(place: Home) -> HomeLock:
    """Claim the cluster's folder.

    Raises:
        AlreadyRunningError: another supervisor holds it.
    """
    try:
        return HomeLock(place)
    except AlreadyRunningError:
        raise AlreadyRunningError(
            f"a Flink cluster runs in {place.root} already: see `headrace flink status`, stop it with"
            " `headrace flink down`"
        ) from None


@contextmanager
def running(home: Path, shape: Shape, progress: Callable[[str], None]) -> Iterator[Supervisor]:
    """Run a cluster for the length of a block, which begins when every TaskManager has registered.

    Raises:
        AlreadyRunningError: another supervisor holds the folder.
        StackError: something did not start; everything started before it was stopped again.
    """
    place = place_of(home)
    with ExitStack() as cleanup:
        cleanup.callback(locked(place).release)
        _end_leftovers(place)
        ports = _leased(place, cleanup)
        cleanup.enter_context(gateway(home.absolute(), ports["metrics"]))
        recorder = _Recorder(place, shape, ports)
        supervisor = Supervisor(on_change=recorder.write)
        recorder.supervisor = supervisor
        cleanup.callback(lambda: place.record.unlink(missing_ok=True))
        cleanup.callback(supervisor.stop_all)
        layout = cluster_layout(place.root, shape, ports, progress)
        specs = cluster_specs(layout, shape, ports, place.log)
        for spec in specs:  # side by side: each looks for those before it again and again
            supervisor.start(spec)
        for spec in specs:
            supervisor.wait_ready(spec.name)
            progress(f"{spec.name} is ready")
        recorder.state = "ready"
        recorder.write()
        yield supervisor
        recorder.state = "stopping"


class _Recorder:
    """Publishes what runs; called from the supervisor's thread at every change."""

    def __init__(self, place: Home, shape: Shape, ports: dict[str, int]) -> None:
        self.state = "starting"
        self.supervisor: Supervisor | None = None
        self._place = place
        self._writing = threading.Lock()
        self._told: dict[str, Any] = {
            "address": f"http://{LOOPBACK}:{ports['rest']}",
            "metrics": f"http://{LOOPBACK}:{ports['metrics']}/metrics",
            "shape": msgspec.to_builtins(shape),
            "supervisor_pid": os.getpid(),
            "supervisor_started": homes.started_at(os.getpid()),
        }

    def write(self) -> None:
        """Replace the record."""
        with self._writing:
            states = self.supervisor.states() if self.supervisor is not None else []
            processes = [homes.process_record(process) for process in states]
            homes.write_json(self._place.record, {**self._told, "state": self.state, "processes": processes})


def _end_leftovers(place: Home) -> None:
    record = homes.read_record(place)
    if record is not None:
        ended = homes.end_leftovers(record)
        if ended:
            _log.warning("leftovers.ended", names=ended)
        place.record.unlink(missing_ok=True)


def _leased(place: Home, cleanup: ExitStack) -> dict[str, int]:
    """Lease the ports of the last start where they are free: clients and recovery data know them."""
    kept: dict[str, int] = {}
    with suppress(FileNotFoundError, ValueError):  # a first start, or a file cut short: chosen anew
        kept = json.loads(place.ports.read_text(encoding="utf-8"))
    ports = {}
    for name in PORTS:
        lease = lease_port(kept.get(name))
        cleanup.callback(lease.release)
        ports[name] = lease.port
    homes.write_json(place.ports, ports)
    return ports


def hold(home: Path, shape: Shape) -> None:
    """Run the cluster until SIGTERM or SIGINT; a signal during the start ends it too."""
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, _interrupted)
    stopping = threading.Event()
    with running(home, shape, say):
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, lambda *_: stopping.set())
        say("ready")
        while not stopping.wait(1.0):
            continue  # waking each second lets Python run a handler whose signal another thread got


def _interrupted(*_: object) -> None:
    raise StackError("stopped before the cluster was ready")


def main() -> None:
    """Hold a cluster in the folder named on the command line."""
    log.configure("flink-supervisor")
    try:
        hold(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Shape))
    except StackError as error:
        sys.exit(f"stack: error: {error}")


if __name__ == "__main__":
    main()
