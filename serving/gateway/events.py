"""`POST /v1/events`: CloudEvents in, `events.raw` out, answered after the acknowledgement."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from infra.runtime import metrics
from schemas import topics
from schemas.errors import Rejected
from schemas.raw import RawEvent
from schemas.record import Coordinates, Outgoing
from serving.gateway.bindings import Received, as_structured, events_of
from serving.gateway.core import Gateway, body_of, caller_of, gateway_of
from serving.gateway.identity import Identity
from serving.gateway.problems import Refused, answer, refused, status_of

_ACCEPTED: Final = 202


async def post_events(request: Request) -> Response:
    """Take one event or many.

    One event: 202 with its coordinates, or a problem. Many: 202 with a result for each when at least one was
    accepted, 400 with the same list when none was.
    """
    gateway = gateway_of(request)
    body = await body_of(request)
    try:
        received = events_of(request.headers, body, max_events=gateway.limits.max_events)
        if received.single:
            return await _one(gateway, received.events[0], caller_of(request))
    except Rejected as error:
        raise refused(error) from error
    return await _many(gateway, received.events, caller_of(request))


async def _one(gateway: Gateway, event: Received, caller: Identity) -> Response:
    try:
        decoded = gateway.judge.judge(event)
    except Rejected:
        metrics.count_events(accepted=0, rejected=1)
        raise
    (coordinates,) = await gateway.publish([_record(event, decoded)], caller)
    metrics.count_events(accepted=1, rejected=0)
    return answer(_accepted(decoded, coordinates), _ACCEPTED)


async def _many(gateway: Gateway, events: list[Received], caller: Identity) -> Response:
    results: list[dict[str, Any]] = []
    accepted: list[tuple[int, RawEvent]] = []
    records: list[Outgoing] = []
    for index, event in enumerate(events):
        try:
            decoded = gateway.judge.judge(event)
        except Rejected as error:
            results.append({"index": index, "status": status_of(error.reason), **_rejected(error)})
        else:
            results.append({"index": index, "status": _ACCEPTED})
            accepted.append((index, decoded))
            records.append(_record(event, decoded))
    summary: dict[str, Any] = {
        "accepted": len(accepted),
        "rejected": len(events) - len(accepted),
        "results": results,
    }
    if not accepted:
        metrics.count_events(accepted=0, rejected=len(events))
        raise Refused(400, "no event of the request was accepted", **summary)
    placed = await gateway.publish(records, caller)
    for (index, decoded), coordinates in zip(accepted, placed, strict=True):
        results[index].update(_accepted(decoded, coordinates))
    metrics.count_events(accepted=len(accepted), rejected=len(events) - len(accepted))
    return answer(summary, _ACCEPTED)


def _record(event: Received, decoded: RawEvent) -> Outgoing:
    """Key by source, so that an event's copies share a partition and are dropped exactly."""
    return Outgoing(topics.RAW.name, decoded.source.encode(), as_structured(event))


def _accepted(event: RawEvent, coordinates: Coordinates) -> dict[str, Any]:
    return {"source": event.source, "id": event.id, "coordinates": coordinates}


def _rejected(error: Rejected) -> dict[str, str]:
    return {"reason": error.reason.value, "field": error.field, "detail": error.message}
