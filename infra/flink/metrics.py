"""Flink's metrics: its processes push their series to a loopback port, Prometheus takes all of them from it.

Flink's own server of metrics would listen on every address of the machine, one port a process. Its reporter
for a Prometheus push gateway only calls out, so the cluster's supervisor is that gateway for its own cluster:
a group of series a process, replaced at each push, forgotten when its process ends or falls silent.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from infra.local.ports import LOOPBACK
from infra.runtime.metrics.server import announce

SILENT_AFTER_S: Final = 20.0
"""Four pushes missed: the process was killed, and its last figures are no present ones."""

_MAX_BODY_BYTES: Final = 16 * 2**20


class Groups(Collector):
    """The newest series of every pushing process, by the path it pushes to."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._groups: dict[str, tuple[float, list[Metric]]] = {}
        self._lock = threading.Lock()

    def put(self, group: str, text: str) -> None:
        """Replace a group by what was pushed.

        Raises:
            ValueError: it is not Prometheus' text format.
        """
        families = list(text_string_to_metric_families(text))
        with self._lock:
            self._groups[group] = (self._now(), families)

    def delete(self, group: str) -> None:
        """Forget a group."""
        with self._lock:
            self._groups.pop(group, None)

    def collect(self) -> Iterator[Metric]:
        """Return every family once, with the series of all groups that are not silent."""
        merged: dict[str, Metric] = {}
        with self._lock:
            alive = [found for at, found in self._groups.values() if self._now() - at < SILENT_AFTER_S]
        for family in (family for families in alive for family in families):
            known = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            known.samples.extend(family.samples)
        return iter(merged.values())


@contextmanager
def gateway(home: Path, port: int) -> Iterator[str]:
    """Take pushes and answer `/metrics` on a loopback port for the length of a block; yields the URL."""
    groups = Groups()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(groups)
    server = ThreadingHTTPServer((LOOPBACK, port), _handler(groups, registry))
    thread = threading.Thread(target=server.serve_forever, name="flink-metrics", daemon=True)
    thread.start()
    record = announce(home, "flink", f"{LOOPBACK}:{port}")
    try:
        yield f"http://{LOOPBACK}:{port}/metrics"
    finally:
        record.unlink(missing_ok=True)
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(groups: Groups, registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """A push gateway's protocol: PUT and POST replace a group, DELETE forgets it, GET shows all."""

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            else:
                self._answer(404)

        def do_PUT(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > _MAX_BODY_BYTES:
                self._answer(413)
                return
            body = _chunks(self.rfile) if self.headers.get("Transfer-Encoding") else self.rfile.read(length)
            try:
                groups.put(self.path, body.decode())
            except ValueError as error:
                self._answer(400, str(error).encode())
                return
            self._answer(202)

        do_POST = do_PUT  # noqa: N815 # http.server's names

        def do_DELETE(self) -> None:
            groups.delete(self.path)
            self._answer(202)

        def _answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing: a push every five seconds is no news."""

    return Handler


def _chunks(stream: Any) -> bytes:
    """Read a body in HTTP's chunked transfer coding, as Java's client may send one."""
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
        if len(body) > _MAX_BODY_BYTES:
            raise ValueError("the pushed metrics are too large")
    stream.readline()
    return body
