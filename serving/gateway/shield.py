"""What protects the gateway, put together once at its start: access, limits, load, circuits, audit."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from infra.runtime.audit import Sink, Trail
from infra.runtime.clock import Clock
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.errors import Fatal
from schemas.gateway import SHARED_SECRET, GatewaySection, Jwt, Limits
from serving.gateway import keys
from serving.gateway.access import Access
from serving.gateway.breaker import Breaker
from serving.gateway.buckets import Local, Shared
from serving.gateway.door import Door
from serving.gateway.jwks import KeySet
from serving.gateway.limits import Limiter
from serving.gateway.load import Load
from serving.gateway.microbatch import MicroBatcher
from serving.gateway.options import Options
from serving.gateway.tokens import Tokens

_MIN_SECRET_BYTES = 32  # RFC 7518, 3.2: an HMAC's key has at least its output's size
_log = get_logger(__name__)


class Current:
    """The section of `headrace.toml` that holds now; `reload` replaces it."""

    def __init__(self, section: GatewaySection) -> None:
        self.section = section

    @property
    def limits(self) -> Limits:
        """Return the limits that hold now."""
        return self.section.limits


@dataclass(frozen=True)
class Shield:
    """The parts. `keyset` is None without `gateway.jwt.jwks`."""

    current: Current
    access: Access
    door: Door
    limiter: Limiter
    load: Load
    trail: Trail
    kafka: Breaker
    clickhouse: Breaker
    keyset: KeySet | None = None


@asynccontextmanager
async def shielded(
    settings: Settings, options: Options, clock: Clock, batcher: MicroBatcher, sink: Sink
) -> AsyncIterator[Shield]:
    """Yield the parts, at work.

    Raises:
        Fatal: the settings would let strangers in, or a key or secret cannot be used.
    """
    current = Current(settings.config.gateway)
    access, keyset = await _access(settings, options, clock)
    local = Local()
    shared = Shared(settings.endpoints.redis, settings.config.topic_prefix, local)
    redis = Breaker("redis", lambda: current.section.breaker, failures=(RedisError, TimeoutError, OSError))
    limiter = Limiter(lambda: current.limits, clock, shared=shared, breaker=redis, local=local)
    load = Load(lambda: current.limits, batcher)
    shield = Shield(
        current,
        access,
        Door(access, limiter, load, lambda: current.limits),
        limiter,
        load,
        Trail(sink, settings.home, clock),
        Breaker("kafka", lambda: current.section.breaker),
        Breaker("clickhouse", lambda: current.section.breaker),
        keyset,
    )
    shield.load.start()
    shield.trail.start()
    try:
        yield shield
    finally:
        await shield.trail.stop()
        await shield.load.stop()
        await shared.close()


def asks_for_keys(settings: Settings) -> bool:
    """Tell whether callers have to prove who they are.

    Raises:
        Fatal: they would not have to, and others than this machine could come in; or the keys are damaged.
    """
    section = settings.config.gateway
    known = keys.read(settings.home) is not None or bool(section.jwt.algorithms)
    asks = section.auth == "required" or (section.auth == "auto" and known)
    if not asks and not section.loopback:
        raise Fatal(
            f"gateway.host is {section.host}, which others can reach, and nobody would be asked for a key:"
            " make one with `headrace keys create`, set gateway.jwt.algorithms, or keep host on 127.0.0.1"
        )
    return asks


async def _access(settings: Settings, options: Options, clock: Clock) -> tuple[Access, KeySet | None]:
    """Put together what callers are checked by, and say how they are."""
    section = settings.config.gateway
    asks = asks_for_keys(settings)
    kept = keys.read(settings.home)
    if not asks:
        _log.warning(
            "gateway.open", host=section.host, hint="anybody on this machine; `headrace keys create`"
        )
    elif kept is None and not section.jwt.algorithms:
        _log.warning("gateway.closed", hint="there is no key yet; make one with `headrace keys create`")
    keyset = KeySet(section.jwt.jwks) if section.jwt.jwks else None
    if keyset is not None:
        await keyset.start()
    tokens = None
    if section.jwt.algorithms:
        tokens = Tokens(section.jwt, clock, secret=_secret(section.jwt, options), keys=keyset)
    ring, origins = keys.Ring(kept or ()), section.cors.origins
    return Access(clock, asks=asks, ring=ring, tokens=tokens, origins=origins), keyset


def _secret(jwt: Jwt, options: Options) -> bytes:
    """Return the shared secret of HS* tokens; empty where none is needed.

    Raises:
        Fatal: it is missing, too short, or its file can be read by others.
    """
    if not SHARED_SECRET.intersection(jwt.algorithms):
        return b""
    secret = options.jwt_secret.get_secret_value().encode()
    if not secret and jwt.secret_file:
        path = Path(jwt.secret_file)
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o007:
                    raise Fatal(f"gateway.jwt.secret_file: everybody can read {path}; run: chmod o= {path}")
                secret = file.read().strip()
        except OSError as error:
            raise Fatal(f"gateway.jwt.secret_file cannot be read: {error}") from error
    if len(secret) < _MIN_SECRET_BYTES:
        raise Fatal(
            f"the secret of HS* tokens has {len(secret)} bytes and needs {_MIN_SECRET_BYTES}; set"
            " HEADRACE_JWT_SECRET or gateway.jwt.secret_file (openssl rand -base64 48)"
        )
    return secret
