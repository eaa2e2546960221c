"""What a gRPC call says of its caller: a call's context in, headers and network out."""

from typing import Any

from serving.gateway.addresses import masked


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
