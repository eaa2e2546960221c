"""The local stack: consumes a data folder and worker specs, produces running services and workers.

Any of the three services is left out when the address of an existing one is given (``HEADRACE_KAFKA``,
``HEADRACE_REDIS``, ``HEADRACE_CLICKHOUSE``). What runs is written to ``stack.json`` in the data folder.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.local import home as homes
from infra.local.broker import broker_spec
from infra.local.cache import cache_spec
from infra.local.errors import StackError
from infra.local.home import Home, HomeLock
from infra.local.ports import LOOPBACK, PortLease, lease_port
from infra.local.process import ProcessSpec, ProcessState, Supervisor
from infra.local.warehouse.spec import warehouse_spec
from infra.runtime.log import get_logger
from infra.runtime.settings import Endpoints

__all__ = ["Endpoints", "ProcessSpec", "ProcessState", "Stack", "StackSettings", "endpoints"]

log = get_logger(__name__)

_WAKE_S = 0.5
USUAL_PORTS = {"kafka": 9092, "kafka-controller": 9093, "redis": 6379, "clickhouse": 8123}


@dataclass(frozen=True)
class StackSettings:
    """Existing services to use instead of local ones, and whether to try the services' usual ports first."""

    kafka: str | None = None
    redis: str | None = None
    clickhouse: str | None = None
    usual_ports: bool = True
    kafka_heap_mb: int = 512

    @classmethod
    def from_environment(cls) -> Self:
        """Take the addresses of existing services from ``HEADRACE_KAFKA``, ``_REDIS`` and ``_CLICKHOUSE``."""
        get = os.environ.get
        return cls(get("HEADRACE_KAFKA"), get("HEADRACE_REDIS"), get("HEADRACE_CLICKHOUSE"))


class Stack:
    """Three services and the caller's workers under one supervisor; a context manager that runs them.

    Args:
        home: the data folder; made when missing. Data in it survive a restart.
        workers: started one by one, in order, once the services answer; or a function that makes them then.
        settings: by default from the environment.
        progress: called with a line about each step.
    """

    def __init__(
        self,
        home: Path,
        workers: Sequence[ProcessSpec] | Callable[[], Sequence[ProcessSpec]] = (),
        settings: StackSettings | None = None,
        progress: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.home = Home(home.absolute())
        self._workers = workers
        self._settings = StackSettings.from_environment() if settings is None else settings
        self._progress = progress
        self._lock: HomeLock | None = None
        self._leases: list[PortLease] = []
        self._supervisor: Supervisor | None = None
        self._endpoints: Endpoints | None = None
        self._state = "stopped"
        self._stopping = threading.Event()
        self._recording = threading.Lock()

    def start(self) -> None:
        """Start the services side by side, wait until they answer, then start the workers in order.

        Raises:
            AlreadyRunningError: another supervisor holds the folder.
            StackError: something did not start; everything started before it was stopped again.
        """
        self._lock = HomeLock(self.home)
        self._stopping.clear()
        try:
            self._end_leftovers()
            self._state = "starting"
            self._supervisor = Supervisor(on_change=self._record)
            specs = self._plan()
            self._start_services(specs)
            for worker in self._workers() if callable(self._workers) else self._workers:
                self._start_worker(worker)
            self._state = "ready"
            self._record()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the workers, then the services, last started first; data stay. Calling twice is harmless."""
        self._stopping.set()
        self._state = "stopping"
        if self._supervisor is not None:
            self._supervisor.stop_all()
            self._supervisor = None
        if self._lock is not None:
            self.home.record.unlink(missing_ok=True)
            self._lock.release()
            self._lock = None
        for lease in self._leases:
            lease.release()
        self._leases.clear()

    def wait(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Block until SIGTERM or SIGINT; to be called from the main thread, with ``stop`` after it.

        `meanwhile` is called again and again.
        """
        before = {
            sig: signal.signal(sig, lambda *_: self._stopping.set())
            for sig in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            self._wait(meanwhile)
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def _wait(self, meanwhile: Callable[[], None]) -> None:
        while not self._stopping.wait(_WAKE_S):  # waking lets Python run a signal's handler, whoever got it
            meanwhile()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoints(self) -> Endpoints:
        """Where the services answer."""
        if self._endpoints is None:
            raise StackError("the stack was not started")
        return self._endpoints

    def add_worker(self, spec: ProcessSpec) -> None:
        """Start one more worker and wait until it is ready."""
        self._start_worker(spec)

    def remove_worker(self, name: str) -> None:
        """Stop one worker for good."""
        self._running().stop(name)

    def kill(self, name: str, sig: int = signal.SIGKILL) -> int:
        """Send a signal to a process, for fault tests; it comes back by itself. Returns its pid."""
        return self._running().kill(name, sig)

    def wait_ready(self, name: str) -> None:
        """Wait until a process (one that was just killed, say) is ready again."""
        self._running().wait_ready(name)

    def processes(self) -> list[ProcessState]:
        """The services and workers as they are now."""
        return self._running().states()

    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise StackError("the stack does not run")
        return self._supervisor

    def _end_leftovers(self) -> None:
        record = homes.read_record(self.home)
        if record is not None:
            ended = homes.end_leftovers(record)
            if ended:
                log.warning("leftovers.ended", names=ended)
            self.home.record.unlink(missing_ok=True)

    def _plan(self) -> dict[str, Callable[[], ProcessSpec]]:
        """Lease a port for each local service, publish the addresses, say how each service's spec is made."""
        given = self._settings
        kept: dict[str, int] = {}
        with suppress(
            FileNotFoundError, ValueError
        ):  # a first start, or a file cut short: ports are chosen anew
            kept = json.loads(self.home.ports.read_text())
        ports: dict[str, int] = {}

        def port(name: str) -> int:
            usual = USUAL_PORTS[name] if given.usual_ports else None
            lease = lease_port(kept.get(name), usual)
            self._leases.append(lease)
            ports[name] = lease.port
            return lease.port

        plan: dict[str, Callable[[], ProcessSpec]] = {}
        data, log_of = self.home.data, self.home.log
        kafka, redis, clickhouse = given.kafka, given.redis, given.clickhouse
        if not kafka:
            own, controller = port("kafka"), port("kafka-controller")
            kafka = f"{LOOPBACK}:{own}"
            heap_mb = given.kafka_heap_mb
            plan["kafka"] = lambda: broker_spec(
                data("kafka"), own, controller, log_of("kafka"), heap_mb=heap_mb
            )
        if not redis:
            redis_port = port("redis")
            redis = f"redis://{LOOPBACK}:{redis_port}/0"
            plan["redis"] = lambda: cache_spec(data("redis"), redis_port, log_of("redis"))
        if not clickhouse:
            http = port("clickhouse")
            clickhouse = f"http://default:@{LOOPBACK}:{http}"
            plan["clickhouse"] = lambda: warehouse_spec(data("clickhouse"), http, log_of("clickhouse"))
        homes.write_json(self.home.ports, {**kept, **ports})
        self._endpoints = Endpoints(kafka, redis, clickhouse)
        return plan

    def _start_services(self, plan: dict[str, Callable[[], ProcessSpec]]) -> None:
        supervisor = self._running()

        def bring_up(name: str) -> None:
            supervisor.start(plan[name]())
            supervisor.wait_ready(name)
            self._progress(f"{name} is ready")

        if not plan:
            return
        self._progress("starting " + ", ".join(plan))
        pool = ThreadPoolExecutor(max_workers=len(plan))
        try:
            for started in as_completed([pool.submit(bring_up, name) for name in plan]):
                started.result()
        finally:
            pool.shutdown(
                wait=False, cancel_futures=True
            )  # after a failure the others end as they are stopped

    def _start_worker(self, spec: ProcessSpec) -> None:
        supervisor = self._running()
        supervisor.start(spec)
        supervisor.wait_ready(spec.name)
        self._progress(f"{spec.name} is ready")

    def _record(self) -> None:
        """Publish what runs; called from the supervisor's thread at every change."""
        supervisor, addresses = self._supervisor, self._endpoints
        if supervisor is None or addresses is None:
            return
        with self._recording:
            record = {
                "kafka": addresses.kafka,
                "redis": homes.without_password(addresses.redis),
                "clickhouse": homes.without_password(addresses.clickhouse),
                "state": self._state,
                "supervisor_pid": os.getpid(),
                "supervisor_started": homes.started_at(os.getpid()),
                "processes": [homes.process_record(process) for process in supervisor.states()],
            }
            homes.write_json(self.home.record, record)


def endpoints(home: Path) -> Endpoints:
    """Where the services of the stack in ``home`` answer.

    Raises:
        NotRunningError: no stack runs there.
    """
    return homes.endpoints_of(homes.running_record(Home(home.absolute())))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Hold services on random free ports until a signal: ``python -m infra.local.stack HOME``."""
    stack = Stack(Path(sys.argv[1]), settings=StackSettings(usual_ports=False), progress=_say)
    with stack:
        _say(f"ready: {stack.home.record}")
        stack.wait()


if __name__ == "__main__":
    main()
