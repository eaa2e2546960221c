"""TLS at the gateway, REST and gRPC: who is believed, what is refused, and a certificate that is renewed."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import grpc
import pytest

from infra.runtime.kafka.admin import create_topics
from infra.runtime.settings import Endpoints, Settings
from schemas import topics
from schemas.audit import Audit
from schemas.errors import Fatal, Retryable
from schemas.raw import structured
from schemas.record import Kind
from serving.client import Client, Retry
from serving.gateway.app import run
from serving.gateway.inference.generated import open_inference_pb2 as messages
from serving.gateway.inference.grpc_server import SERVICE
from serving.gateway.tls import Certificate
from tests.certificates import Authority
from tests.running import STREAMS, gateway, read, settings_of
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Who issues the gateway's certificates."""
    return Authority(tmp_path)


@pytest.fixture
async def settings(stack: Endpoints, unique: str, tmp_path: Path, authority: Authority) -> Settings:
    """Settings of a gateway with a certificate."""
    tls = f'[gateway.tls]\ncert = "{authority.cert}"\nkey = "{authority.key}"\n'
    made = settings_of(stack, unique, tmp_path, STREAMS + tls)
    await create_topics(made)
    return made


def shown(url: str, authority: Authority) -> bytes:
    """Shake hands as a client that trusts the authority; return the certificate that is shown, as DER."""
    context = ssl.create_default_context(cafile=str(authority.ca))
    address = urlsplit(url)
    with (
        socket.create_connection((address.hostname, address.port or 0), 5) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
    ):
        return wrapped.getpeercert(binary_form=True) or b""


async def alive(address: str, credentials: grpc.ChannelCredentials) -> bool:
    """Ask over gRPC, on a connection of its own, whether the server lives."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        call: Any = channel.unary_unary(
            f"/{SERVICE}/ServerLive",
            request_serializer=messages.ServerLiveRequest.SerializeToString,
            response_deserializer=messages.ServerLiveResponse.FromString,
        )
        return bool((await call(messages.ServerLiveRequest(), timeout=10)).live)


async def test_rest_and_grpc_are_served_by_tls_alone(settings: Settings, authority: Authority):
    """Whoever knows the authority gets answers; who does not, or asks plainly, gets none. TLS 1.1 is off."""
    authority.issue("first")
    assert Certificate(settings.config.gateway.tls).context.minimum_version is ssl.TLSVersion.TLSv1_2
    event = structured("1", "shop", Kind.API, {"method": "GET", "path": "/"})
    async with gateway(settings) as record:
        assert record["url"].startswith("https://127.0.0.1:")
        async with Client(record["url"], ca=str(authority.ca)) as client:
            assert len((await client.publish([event])).accepted) == 1
        async with Client(record["url"], retry=Retry(attempts=1)) as stranger:
            with pytest.raises(Retryable, match="CERTIFICATE_VERIFY_FAILED"):
                await stranger.publish([event])
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(record["url"].replace("https", "http") + "/livez")
        assert await alive(record["grpc"], grpc.ssl_channel_credentials(authority.ca.read_bytes()))
        with pytest.raises(grpc.RpcError, match="UNAVAILABLE"):
            await alive(record["grpc"], grpc.ssl_channel_credentials())


async def test_a_renewed_certificate_is_taken_over(settings: Settings, authority: Authority):
    """New handshakes see it, an open connection goes on, and a pair that does not fit changes nothing."""
    first = authority.issue("first")
    async with gateway(settings) as record, aiohttp.ClientSession() as session:

        async def asked() -> int:
            trusted = ssl.create_default_context(cafile=str(authority.ca))
            async with session.get(f"{record['url']}/livez", ssl=trusted) as response:
                return response.status

        async def audited(outcome: str) -> bool:
            found = await read(settings, topics.AUDIT, Audit)
            return ("certificate.renewed", outcome) in {(one.action, one.outcome) for one in found}

        async def now() -> bytes:
            return await asyncio.to_thread(shown, record["url"], authority)

        assert await asked() == 200
        assert await now() == first
        fits = authority.key.read_bytes()
        second = authority.issue("second")
        key = authority.key.read_bytes()
        authority.key.write_bytes(fits)
        await aeventually(lambda: audited("refused"), timeout_s=20)
        assert await now() == first
        authority.key.write_bytes(key)
        await aeventually(lambda: audited("done"), timeout_s=20)
        assert await now() == second
        assert await asked() == 200
        assert await alive(record["grpc"], grpc.ssl_channel_credentials(authority.ca.read_bytes()))


@pytest.mark.parametrize("wrong", ["readable", "missing", "no key"])
async def test_a_certificate_that_cannot_be_used_does_not_start(
    wrong: str, settings: Settings, authority: Authority
):
    """Before anything listens, with what to do."""
    authority.issue("first")
    if wrong == "readable":
        authority.key.chmod(0o644)
    elif wrong == "missing":
        authority.cert.unlink()
    else:
        authority.key.write_text("nothing")
    with pytest.raises(Fatal, match="chmod o=" if wrong == "readable" else "no certificate and its key"):
        await run(settings)
    assert not (settings.home / "gateway.json").exists()
