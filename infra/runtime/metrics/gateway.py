"""What the `gateway` worker did: requests by route and answer, events and labels by outcome."""

import functools
from typing import Final

from prometheus_client import Counter, Gauge, Histogram

ROUTES: Final = (
    "/v1/events",
    "/v1/labels",
    "/v1/predictions/stream",
    "/v1/predictions",
    "/v2",
    "/inference.GRPCInferenceService",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
)
_KNOWN: Final = frozenset(ROUTES)
METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})

REQUESTS: Final = Counter(
    "headrace_gateway_requests_total", "Requests answered", ["route", "method", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "headrace_gateway_request_seconds",
    "Seconds from a request's head to its answer's end",
    ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
EVENTS: Final = Counter("headrace_gateway_events_total", "Events taken over HTTP", ["outcome"])
LABELS: Final = Counter("headrace_gateway_labels_total", "Labels taken over HTTP", ["outcome"])
REFUSED: Final = Counter("headrace_gateway_refused_total", "Requests refused before an endpoint", ["reason"])
CIRCUIT: Final = Gauge(
    "headrace_gateway_circuit_open",
    "1 while a dependency is left alone, 0.5 while it is tried",
    ["dependency"],
)
LOOP_LAG: Final = Gauge("headrace_gateway_loop_lag_seconds", "How late the event loop is")
_CIRCUIT: Final = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


def observe_request(path: str, method: str, status: int, seconds: float) -> None:
    """Note one request. Paths that are no route of ours count as `other`, unknown methods likewise."""
    count, times = _series(path if path in _KNOWN else _route(path), method, status)
    count.inc()
    times.observe(seconds)


@functools.lru_cache(maxsize=1024)
def _route(path: str) -> str:
    return next((known for known in ROUTES if path.startswith(f"{known}/")), "other")


@functools.lru_cache(maxsize=1024)
def _series(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Return the series of a request: looking one up by its labels costs more than counting."""
    count = REQUESTS.labels(route, method if method in METHODS else "other", str(status))
    return count, REQUEST_SECONDS.labels(route)


def count_events(*, accepted: int, rejected: int) -> None:
    """Count the events of one request."""
    EVENTS.labels("accepted").inc(accepted)
    EVENTS.labels("rejected").inc(rejected)


def count_labels(*, accepted: int, rejected: int) -> None:
    """Count the labels of one request."""
    LABELS.labels("accepted").inc(accepted)
    LABELS.labels("rejected").inc(rejected)


def count_refused(reason: str) -> None:
    """Count a request that was refused for what asks or how much: `unknown`, `scope`, `rate`, `quota`, …."""
    REFUSED.labels(reason).inc()


def set_circuit(dependency: str, state: str) -> None:
    """Tell the state of a dependency's circuit: `closed`, `half_open` or `open`."""
    CIRCUIT.labels(dependency).set(_CIRCUIT[state])


def set_loop_lag(seconds: float) -> None:
    """Tell how late the event loop is."""
    LOOP_LAG.set(seconds)
