"""`POST /v1/labels`: consumes ground truth over HTTP, produces `labels`."""

from datetime import UTC
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from infra.runtime import metrics
from schemas import codec, topics
from schemas.errors import Reason, Rejected
from schemas.label import Label, number_of
from schemas.record import Outgoing
from schemas.release import Task
from serving.gateway.core import Gateway, body_of, caller_of, gateway_of
from serving.gateway.identity import Identity
from serving.gateway.problems import Refused, answer, refused, status_of

_ONE_OR_MANY: Final = msgspec.json.Decoder(dict[str, Any] | list[Any])


async def post_labels(request: Request) -> Response:
    """Take one label or a list; `labelled_at` defaults to now. A label for an event still to come is fine."""
    gateway = gateway_of(request)
    body = await body_of(request)
    try:
        sent = _ONE_OR_MANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, str(error), reason=Reason.MALFORMED_JSON.value, field="") from error
    if isinstance(sent, list):
        return await _many(gateway, sent, caller_of(request))
    try:
        label = _label(gateway, sent)
    except Rejected as error:
        metrics.count_labels(accepted=0, rejected=1)
        raise refused(error) from error
    (coordinates,) = await gateway.publish([_record(label)], caller_of(request))
    metrics.count_labels(accepted=1, rejected=0)
    return answer({"source": label.source, "id": label.id, "coordinates": coordinates}, 202)


async def _many(gateway: Gateway, sent: list[Any], caller: Identity) -> Response:
    if len(sent) > gateway.limits.max_events:
        raise Refused(413, f"{len(sent)} labels in one request; send at most {gateway.limits.max_events}")
    records: list[Outgoing] = []
    refusals: list[dict[str, Any]] = []
    for index, one in enumerate(sent):
        try:
            records.append(_record(_label(gateway, one)))
        except Rejected as error:
            refusals.append(
                {
                    "index": index,
                    "status": status_of(error.reason),
                    "reason": error.reason.value,
                    "field": error.field,
                    "detail": error.message,
                }
            )
    if not records:
        metrics.count_labels(accepted=0, rejected=len(sent))
        raise Refused(
            400, "no label of the request was accepted", accepted=0, rejected=len(sent), results=refusals
        )
    await gateway.publish(records, caller)
    metrics.count_labels(accepted=len(records), rejected=len(refusals))
    return answer({"accepted": len(records), "rejected": len(refusals), "results": refusals}, 202)


def _label(gateway: Gateway, sent: Any) -> Label:
    """Check one label.

    Raises:
        Rejected: a field is missing, wrong or unknown, or the stream is not configured.
    """
    if not isinstance(sent, dict):
        raise Rejected(Reason.WRONG_TYPE, "a label is a JSON object")
    now = gateway.clock.now()
    try:
        encoded = codec.encode({"labelled_at": now, **sent})
    except RecursionError as error:
        raise Rejected(Reason.MALFORMED_JSON, "the label is nested too deeply") from error
    label = codec.decode(encoded, Label)
    if label.stream not in gateway.settings.config.streams:
        known = ", ".join(gateway.settings.config.streams)
        raise Rejected(
            Reason.UNKNOWN_STREAM, f"no stream is called {label.stream!r}; there are: {known}", "stream"
        )
    for field in ("source", "id", "label"):
        if not getattr(label, field):
            raise Rejected(Reason.MISSING_FIELD, f"a label needs its {field}", field)
    model = gateway.settings.config.streams[label.stream].model
    if model is not None and model.task is Task.REGRESSION and number_of(label.label) is None:
        raise Rejected(
            Reason.WRONG_TYPE,
            f"stream {label.stream!r} learns numbers; {label.label[:40]!r} is no finite number",
            "label",
        )
    if label.labelled_at.tzinfo is None:
        raise Rejected(Reason.BAD_TIMESTAMP, "labelled_at needs its time zone, such as Z", "labelled_at")
    return msgspec.structs.replace(label, labelled_at=label.labelled_at.astimezone(UTC))


def _record(label: Label) -> Outgoing:
    return Outgoing(topics.LABELS.name, label.source.encode(), codec.encode(label))
