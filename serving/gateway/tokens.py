"""JSON Web Tokens: a token in, the caller that it proves out. PyJWT checks, with what the file allows.

The algorithm is chosen by the configuration, never by the token: a token's own `alg` only has to be among
them and fit the kind of key that its `kid` names (RFC 8725, 3.1 and 3.2). What was checked once is remembered
until it expires, so that a caller's hundredth request costs a look-up.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

import jwt

from infra.runtime.clock import Clock
from schemas.gateway import SHARED_SECRET, Jwt
from serving.gateway.identity import Identity
from serving.gateway.jwks import KeySet, UnknownKey
from serving.gateway.problems import Refused
from serving.gateway.scopes import Scope

MAX_TOKEN_BYTES: Final = 8192
_MAX_SUBJECT: Final = 256
_REMEMBERED: Final = 4096
_SCOPES: Final = {scope.value: scope for scope in Scope}


def unbelieved(why: str) -> Refused:
    """Return the refusal of a caller who proves nothing, as RFC 6750 words it; `why` must be plain ASCII."""
    return Refused(
        401, why, challenge=f'Bearer realm="headrace", error="invalid_token", error_description="{why}"'
    )


class Tokens:
    """Checks tokens by the `jwt` section, with a shared secret or a set of public keys."""

    def __init__(self, config: Jwt, clock: Clock, *, secret: bytes = b"", keys: KeySet | None = None) -> None:
        self._config = config
        self._clock = clock
        self._secret = secret
        self._keys = keys
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._known_of = -1

    async def identity(self, token: str) -> Identity:
        """Return whom a token proves.

        Raises:
            Refused: 401 and why; 503 while the set of keys was never read.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise unbelieved("the token is too long")
        digest = hashlib.sha256(token.encode()).digest()
        known = self._remembered(digest)
        if known is not None:
            return known
        try:
            claims = self._claims(token)
        except UnknownKey as error:
            if self._keys is None or not await self._keys.refresh():
                raise unbelieved(str(error)) from error
            try:
                claims = self._claims(token)
            except UnknownKey as still:
                raise unbelieved(str(still)) from still
        if len(claims["sub"]) > _MAX_SUBJECT:
            raise unbelieved("the token's sub is too long")
        identity = Identity("jwt", claims["sub"], self._scopes(claims))
        self._known[digest] = identity, float(claims["exp"]) + self._config.leeway
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return identity

    def _remembered(self, digest: bytes) -> Identity | None:
        """Return whom a token proved before, under the same set of keys, while it lasts."""
        generation = self._keys.generation if self._keys is not None else 0
        if generation != self._known_of:
            self._known.clear()
            self._known_of = generation
        found = self._known.get(digest)
        if found is None:
            return None
        identity, until = found
        if self._clock.now().timestamp() >= until:
            del self._known[digest]
            raise unbelieved("the token has expired")
        return identity

    def _claims(self, token: str) -> dict[str, Any]:
        config = self._config
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in config.algorithms:
                raise unbelieved("the token's algorithm is not accepted")
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(header, algorithm),
                algorithms=[algorithm],
                audience=config.audience or None,
                issuer=config.issuer or None,
                leeway=config.leeway,
                options={"require": ["exp", "sub"]},
            )
        except jwt.ExpiredSignatureError as error:
            raise unbelieved("the token has expired") from error
        except jwt.MissingRequiredClaimError as error:
            raise unbelieved(f"the token has no {error.claim}") from error
        except jwt.InvalidAudienceError as error:
            raise unbelieved("the token is for another audience") from error
        except jwt.InvalidIssuerError as error:
            raise unbelieved("the token is of another issuer") from error
        except jwt.ImmatureSignatureError as error:
            raise unbelieved("the token is not valid yet") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise unbelieved("the token cannot be believed") from error
        return claims

    def _key(self, header: Mapping[str, Any], algorithm: str) -> Any:
        if algorithm in SHARED_SECRET:
            return self._secret
        if self._keys is None:
            raise unbelieved("the token's algorithm is not accepted")
        return self._keys.key(header.get("kid"), algorithm)

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        """Read the scopes: words in one text (RFC 8693, 4.2), or a list; what is not ours is left out."""
        given = claims.get(self._config.scope_claim, "")
        words = given.split() if isinstance(given, str) else given if isinstance(given, list) else []
        return frozenset(_SCOPES[word] for word in words if isinstance(word, str) and word in _SCOPES)
