"""What a gRPC call says of its caller: a call's context in, headers, network and request id out."""

import re
import secrets
from typing import Any, Final

from serving.gateway.addresses import masked

_GIVEN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def headers_of(context: Any) -> list[tuple[bytes, bytes]]:
    """Return a call's metadata as ASGI has headers; the names are lower-case already."""
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in context.invocation_metadata() or ()
    ]


def network_of(context: Any) -> str:
    """Return the network of a peer such as `ipv4:127.0.0.1:5000`."""
    _, _, place = str(context.peer()).partition(":")
    return masked(place.rpartition(":")[0].strip("[]"))


def request_id_of(context: Any) -> str:
    """Take over the caller's id when it is harmless in a log, else make one."""
    for name, value in context.invocation_metadata() or ():
        if name == "x-request-id" and _GIVEN_ID.fullmatch(str(value)):
            return str(value)
    return secrets.token_hex(8)
