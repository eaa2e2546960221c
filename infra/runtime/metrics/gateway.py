"""What the `gateway` worker did: requests by route and answer, events and labels by outcome."""

from typing import Final

from prometheus_client import Counter, Histogram

ROUTES: Final = (
    "/v1/events",
    "/v1/labels",
    "/v1/predictions",
    "/v2",
    "/inference.GRPCInferenceService",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
)
_METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})

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


def observe_request(path: str, method: str, status: int, seconds: float) -> None:
    """Note one request. Paths that are no route of ours count as `other`, unknown methods likewise."""
    route = next((known for known in ROUTES if path == known or path.startswith(f"{known}/")), "other")
    REQUESTS.labels(route, method if method in _METHODS else "other", str(status)).inc()
    REQUEST_SECONDS.labels(route).observe(seconds)


def count_events(*, accepted: int, rejected: int) -> None:
    """Count the events of one request."""
    EVENTS.labels("accepted").inc(accepted)
    EVENTS.labels("rejected").inc(rejected)


def count_labels(*, accepted: int, rejected: int) -> None:
    """Count the labels of one request."""
    LABELS.labels("accepted").inc(accepted)
    LABELS.labels("rejected").inc(rejected)
