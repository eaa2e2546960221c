"""The `[gateway]` section of `headrace.toml`: who may come in, and how much each may ask for.

Everything in `Limits` and `Breakers`, and `log_level`, is taken over by a running gateway (`schemas.hot`).
"""

import ipaddress
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from schemas.section import Duration, Section, duration_s

Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "EdDSA"]
SHARED_SECRET: Final = frozenset({"HS256", "HS384", "HS512"})
"""The algorithms whose key also signs; all others are checked with public keys."""


class Jwt(Section):
    """Which JSON Web Tokens (RFC 7519) are believed; none without `algorithms`.

    HS* needs a secret of 32 bytes or more, in `secret_file` or HEADRACE_JWT_SECRET; the others need `jwks`,
    the path or https address of a key set (RFC 7517). `exp` and `sub` are always required; a token with an
    `aud` is only believed where `audience` names it (RFC 7519, 4.1.3). Scopes are read from `scope_claim`.
    """

    algorithms: tuple[Algorithm, ...] = ()
    secret_file: str = ""
    jwks: str = ""
    audience: str = ""
    issuer: str = ""
    leeway: Annotated[float, BeforeValidator(duration_s), Field(gt=0, le=300)] = 10.0
    scope_claim: str = Field(default="scope", min_length=1)

    @model_validator(mode="after")
    def _keys_are_of_one_kind(self) -> Self:
        """One kind of key only: a public key must never be taken for a shared secret."""
        shared = SHARED_SECRET.intersection(self.algorithms)
        if shared and len(shared) < len(set(self.algorithms)):
            raise ValueError("HS* (a shared secret) and the others (public keys) cannot be believed together")
        if self.algorithms and not shared and not self.jwks:
            raise ValueError(
                f"{', '.join(self.algorithms)} needs `jwks`: the path or https address of a key set"
            )
        if self.jwks.startswith("http://") and not is_loopback(urlsplit(self.jwks).hostname):
            raise ValueError(
                "`jwks` must come by https: whoever changes the answer on its way could sign tokens"
            )
        if self.jwks and (shared or not self.algorithms):
            raise ValueError("`jwks` needs `algorithms` of public keys beside it, such as ['RS256']")
        return self


class Tls(Section):
    """By what the gateway shows who it is, over REST and gRPC alike.

    PEM files: of a certificate, with the chain that leads to its issuer, and of its private key, which nobody
    else may read. Renewed files are taken over.
    """

    cert: str = ""
    key: str = ""

    @model_validator(mode="after")
    def _one_needs_the_other(self) -> Self:
        if bool(self.cert) != bool(self.key):
            raise ValueError("`cert` and `key` belong together: a certificate and its private key")
        return self


class Cors(Section):
    """Which web pages may call the gateway from a browser: none, unless their origins are listed."""

    origins: tuple[str, ...] = ()
    max_age: Duration = 600.0


class Limits(Section):
    """How much is taken. A key may have limits of its own; these hold for those that have none.

    `requests_per_s` and `events_per_day` are a caller's (0: no limit; an open gateway has no callers to tell
    apart, so they hold for all together); a caller may come with `burst` requests at once. The others are the
    gateway's: beyond `max_pending` events that wait for Kafka, or when its event loop lags by `max_lag`, it
    answers 503, and so it answers a connection beyond `max_connections`. Failed logins of one network are
    answered 429 beyond `failures_per_s`.
    """

    requests_per_s: float = Field(default=0.0, ge=0)
    burst: int = Field(default=100, ge=1)
    events_per_day: int = Field(default=0, ge=0)
    failures_per_s: float = Field(default=20.0, gt=0)
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    max_events: int = Field(default=20_000, ge=1)
    max_pending: int = Field(default=50_000, ge=1)
    max_connections: int = Field(default=1000, ge=1)
    max_lag: Duration = 1.0
    body_timeout: Duration = 15.0
    publish_timeout: Duration = 10.0
    query_timeout: Duration = 10.0


class Breakers(Section):
    """When a dependency is left alone: after `failures` in a row, for `pause`; then one call tries it."""

    failures: int = Field(default=5, ge=1)
    pause: Duration = 2.0


class GatewaySection(Section):
    """The gateway. `host` other than loopback needs `auth`; what comes from outside should come by TLS.

    `auth`: `auto` asks for a key or token once there is a file of keys or `jwt.algorithms`, and leaves a
    gateway on loopback open before; `required` always asks; `off` never.
    """

    host: str = "127.0.0.1"
    auth: Literal["auto", "required", "off"] = "auto"
    log_level: Literal["", "debug", "info", "warning", "error"] = ""
    tls: Tls = Tls()
    jwt: Jwt = Jwt()
    cors: Cors = Cors()
    limits: Limits = Limits()
    breaker: Breakers = Breakers()

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach the gateway."""
        return is_loopback(self.host)

    @model_validator(mode="after")
    def _strangers_need_a_key(self) -> Self:
        if self.auth == "off" and not self.loopback:
            raise ValueError(f"auth is off and host {self.host!r} is not loopback: everybody could come in")
        return self


def is_loopback(host: Any) -> bool:
    """Tell whether an address is this machine's own; of names only `localhost` is."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return bool(host == "localhost")
