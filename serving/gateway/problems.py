"""Refusals: errors of the gateway's parts in, RFC 9457 problem documents out."""

import math
from typing import Any, Final

import msgspec
from starlette.responses import Response

from schemas.errors import Reason, Rejected

_STATUS: Final = {
    Reason.OVERSIZED: 413,
    Reason.EMPTY: 400,
    Reason.INVALID_UTF8: 400,
    Reason.MALFORMED_JSON: 400,
    Reason.NOT_CLOUDEVENTS: 400,
}
_TITLES: Final = {
    400: "The request cannot be read",
    401: "The caller is not known",
    403: "The caller may not do this",
    404: "There is nothing here",
    408: "The request came too slowly",
    413: "The request is too large",
    415: "The media type is not supported",
    422: "The event breaks its contract",
    429: "The caller asks for too much",
    500: "The gateway failed",
    503: "The gateway cannot take this now",
}


class Refused(Exception):
    """A request that is answered with a problem; `extra` holds further members of the document.

    `retry_after_s` says when it is worth another try; a 503 without it says: in a second.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        retry_after_s: float | None = None,
        challenge: str = "",
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.extra = extra
        self.headers: dict[str, str] = {}
        if status == 503 or retry_after_s is not None:
            self.headers["retry-after"] = str(max(1, math.ceil(retry_after_s or 1)))
        if challenge:
            self.headers["www-authenticate"] = challenge


def status_of(reason: Reason) -> int:
    """Return the HTTP status of a rejection: 400 unreadable, 413 too large, 422 readable but not allowed."""
    return _STATUS.get(reason, 422)


def refused(error: Rejected) -> Refused:
    """Turn a contract's rejection into an HTTP refusal that names the reason and the field."""
    named: dict[str, Any] = {"reason": error.reason.value, "field": _in_http(error.field)}
    return Refused(status_of(error.reason), error.message, **named)


def _in_http(field: str) -> str:
    """Name a binary event's attribute as its HTTP header does."""
    return f"ce-{field[3:]}" if field.startswith("ce_") else field


def answer(body: Any, status: int = 200, media_type: str = "application/json") -> Response:
    """Encode a JSON answer."""
    return Response(msgspec.json.encode(body), status, media_type=media_type)


def problem(error: Refused, request_id: str = "") -> Response:
    """Build the problem document of a refusal."""
    document = {
        "type": "about:blank",
        "title": _TITLES.get(error.status, "The request was refused"),
        "status": error.status,
        "detail": error.detail,
        **({"request_id": request_id} if request_id else {}),
        **error.extra,
    }
    response = answer(document, error.status, "application/problem+json")
    response.headers.update(error.headers)
    return response
