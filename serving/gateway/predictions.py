"""`GET /v1/predictions`: consumes an event's identity, produces its newest answer from ClickHouse."""

from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from infra.runtime.warehouse import WarehouseRefused
from schemas.prediction import Prediction
from serving.gateway.core import gateway_of
from serving.gateway.problems import Refused, answer

_COLUMNS: Final = ", ".join(Prediction.__struct_fields__)
_NEWEST: Final = (
    f"SELECT {_COLUMNS} FROM predictions WHERE source = {{source:String}} AND id = {{id:String}} "
    "ORDER BY predicted_at DESC LIMIT 1"
)
_UNKNOWN_TABLE: Final = ("UNKNOWN_TABLE", "UNKNOWN_DATABASE")


async def get_prediction(request: Request) -> Response:
    """Answer for `/v1/predictions/{source}/{id}`, or `/v1/predictions?source=…&id=…` where an id has slashes.

    404 while there is no answer yet: the event may still be on its way.
    """
    source = request.path_params.get("source") or request.query_params.get("source", "")
    event_id = request.path_params.get("id") or request.query_params.get("id", "")
    if not source or not event_id:
        missing = "id" if source else "source"
        raise Refused(400, "name the event: ?source=…&id=…, or /v1/predictions/{source}/{id}", field=missing)
    try:
        rows = await gateway_of(request).query(_NEWEST, {"source": source, "id": event_id})
    except WarehouseRefused as error:
        if not any(name in str(error) for name in _UNKNOWN_TABLE):
            raise
        rows = []  # nothing was ever stored: the sink makes the table at its first start
    if not rows:
        raise Refused(
            404, f"no prediction for event {event_id!r} of {source!r} yet", source=source, id=event_id
        )
    return answer({name: _json(value) for name, value in rows[0].items()})


def _json(value: Any) -> Any:
    """Give a time its zone: ClickHouse's client returns UTC times without one."""
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value
