"""Who may come in: a request's headers and the scope that it needs in, the caller out, or a refusal.

    identity = await access.authorize(headers, Scope.PREDICT)

`serving.gateway.door` asks it for every request, and adds limits.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from infra.runtime.clock import Clock
from schemas.gateway import is_loopback
from serving.gateway.identity import ANYBODY, Identity
from serving.gateway.keys import PREFIX, Ring
from serving.gateway.problems import Refused
from serving.gateway.scopes import Scope
from serving.gateway.tokens import Tokens, unbelieved

_CHALLENGE: Final = 'Bearer realm="headrace"'


class Access:
    """Checks keys and tokens. `ring` is replaced when the file of keys changes; an open one asks nothing."""

    def __init__(
        self,
        clock: Clock,
        *,
        asks: bool,
        ring: Ring | None = None,
        tokens: Tokens | None = None,
        origins: Iterable[str] = (),
    ) -> None:
        self._clock = clock
        self._origins = frozenset(origins)
        self._tokens = tokens
        self.ring = ring or Ring()
        self.asks = asks

    async def authorize(self, headers: Iterable[tuple[bytes, bytes]], needed: Scope | None) -> Identity:
        """Return the caller. `headers` have lower-case names, as ASGI and gRPC give them.

        Raises:
            Refused: 401 without a valid key or token, 403 without the scope.
        """
        return permitted(await self.authenticate(headers), needed)

    async def authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Identity:
        """Return the caller, whatever they may do.

        Raises:
            Refused: 401 without a valid key or token; 403 for a stranger's page at an open gateway.
        """
        if self.asks:
            return await self._identity(_credential(headers))
        self._refuse_pages(headers)
        return ANYBODY

    def _refuse_pages(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Refuse what a web page of elsewhere sends to an open gateway by its visitor's browser.

        A browser names the page's origin where something may be changed, and sends simple requests without
        asking first: any page could label events on the machine of whoever looks at it.

        Raises:
            Refused: 403; the origin is neither this machine's own nor listed.
        """
        for name, value in headers:
            if name != b"origin":
                continue
            origin = value.decode("latin-1")
            if "*" in self._origins or origin in self._origins or is_loopback(_host(origin)):
                continue
            raise Refused(
                403, "pages of elsewhere may not do this; gateway.cors.origins lists those that may"
            )

    async def _identity(self, credential: str) -> Identity:
        if credential.startswith(PREFIX):
            key = self.ring.find(credential)
            if key is None:
                raise unbelieved("the key is not known")
            standing = key.standing(self._clock.now())
            if standing != "valid":
                raise unbelieved(f"the key is {standing}")
            return self.ring.identity(key)
        if self._tokens is None:
            raise unbelieved("the key is not known")
        return await self._tokens.identity(credential)


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname
    except ValueError:
        return None


def permitted(identity: Identity, needed: Scope | None) -> Identity:
    """Return the caller again if they have the scope.

    Raises:
        Refused: 403, and which scope is missing.
    """
    if needed is not None and needed not in identity.scopes:
        raise Refused(
            403,
            f"this needs the scope {needed.value!r}",
            challenge=f'{_CHALLENGE}, error="insufficient_scope", scope="{needed.value}"',
            scope=needed.value,
        )
    return identity


def _credential(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the key or token of a request: a Bearer token or `x-api-key`, one of them and once.

    Raises:
        Refused: 401; there is none, or more than one.
    """
    found = ""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, text = value.partition(b" ")
            if scheme.lower() != b"bearer":
                raise unbelieved("only the Bearer scheme is understood")
        elif name == b"x-api-key":
            text = value
        else:
            continue
        if found or not text.strip().isascii():
            raise unbelieved("send one key or token, once")
        found = text.strip().decode()
    if not found:
        raise Refused(
            401, "send a key or token: `Authorization: Bearer …` or `X-API-Key: …`", challenge=_CHALLENGE
        )
    return found
