"""What is added to every answer, and what a log line may say."""

import pytest

from schemas.errors import Fatal
from serving.gateway.addresses import masked
from serving.gateway.edge import Edge
from serving.gateway.options import Options


async def call(app, headers: list[tuple[bytes, bytes]]):
    """Send one request through the edge."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": ("10.1.2.3", 5)}
    await Edge(app, "off")(scope, receive, send)
    return sent


async def fine(scope, receive, send):
    """An application that answers."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def broken(scope, receive, send):
    """An application that fails."""
    raise ValueError("secret detail")


async def test_harmless_request_id_is_kept_and_others_replaced():
    """A caller's id comes back; one that could break a log line does not."""
    for given, kept in ((b"abc-1", True), (b"a b\n", False), (b"x" * 65, False)):
        start = (await call(fine, [(b"x-request-id", given)]))[0]
        assert (dict(start["headers"])[b"x-request-id"] == given) is kept


async def test_security_headers_are_on_every_answer():
    """Browsers are told not to sniff, frame, cache or run anything."""
    headers = dict((await call(fine, []))[0]["headers"])
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cache-control"] == b"no-store"
    assert b"default-src 'none'" in headers[b"content-security-policy"]


async def test_a_fault_is_a_500_without_its_detail():
    """Whatever breaks, the caller gets a problem document that gives nothing away."""
    start, body = await call(broken, [])
    assert start["status"] == 500
    assert b"secret" not in body["body"]


@pytest.mark.parametrize(
    ("address", "network"),
    [("203.0.113.77", "203.0.113.0/24"), ("2001:db8:1:2::3", "2001:db8:1::/48"), ("unix", "")],
)
def test_client_addresses_are_masked(address: str, network: str):
    """Only a client's network is ever logged."""
    assert masked(address) == network


def test_options_are_read_and_checked():
    """The environment's options have ranges."""
    assert Options.from_environment({}).port is None
    assert Options.from_environment({"HEADRACE_GATEWAY_PORT": "0"}).port == 0
    with pytest.raises(Fatal, match="HEADRACE_GATEWAY_PORT"):
        Options.from_environment({"HEADRACE_GATEWAY_PORT": "http"})
    with pytest.raises(Fatal, match="HEADRACE_GATEWAY_ACCESS_LOG"):
        Options.from_environment({"HEADRACE_GATEWAY_ACCESS_LOG": "loud"})
