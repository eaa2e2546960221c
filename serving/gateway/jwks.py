"""The public keys of tokens: a JWK set (RFC 7517) from a file or an https address in, keys by `kid` out.

It is read again every few minutes, when its file changes, and when a token names a key that is not in it,
since issuers change keys; the last at most every ten seconds, since anybody can make up a name.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt
import msgspec

from infra.runtime.log import get_logger
from schemas.errors import Fatal
from serving.gateway.problems import Refused

_log = get_logger(__name__)
_MAX_BYTES: Final = 256 * 1024
_FETCH_WITHIN_S: Final = 5.0
_AGAIN_AFTER_S: Final = 10.0
_OLD_AFTER_S: Final = 300.0
_KINDS: Final = {"RS": "RSA", "ES": "EC", "Ed": "OKP"}


class UnknownKey(Exception):
    """A token names a key that is not in the set."""


class KeySet:
    """The set at `place`, a path or an address; `generation` grows with every change of it."""

    def __init__(self, place: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._monotonic = monotonic
        self._content = b""
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self.generation = 0

    def key(self, kid: Any, algorithm: str) -> Any:
        """Return the public key for a token; without a `kid`, the only one there is.

        Raises:
            UnknownKey: there is none of this name that serves this algorithm.
            Refused: 503; the set was never read.
        """
        if not self._keys:
            raise Refused(503, "the keys of tokens could not be read yet", retry_after_s=5)
        if kid is None and len(self._keys) == 1:
            (found,) = self._keys.values()
        else:
            found = self._keys.get(kid) if isinstance(kid, str) else None  # type: ignore[assignment]
        if found is None:
            raise UnknownKey("the token names no key that is known here")
        declared = found._jwk_data.get("alg")  # noqa: SLF001  # whether the set itself binds the algorithm
        if found.key_type != _KINDS[algorithm[:2]] or declared not in {None, algorithm}:
            raise UnknownKey("the token's key is not for its algorithm")
        return found.key

    async def start(self) -> None:
        """Read the set for the first time; an address that does not answer is asked again later.

        Raises:
            Fatal: the file is not there, or is no set of public keys.
        """
        try:
            self._take(await self._fetch())
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            if not self._remote:
                raise Fatal(f"gateway.jwt.jwks: {self._place} cannot be read: {error}") from error
            _log.warning("jwks.unread", place=self._place, error=str(error) or type(error).__name__)

    async def poll(self) -> None:
        """Read the set again where it is due: a file now, an address every five minutes."""
        if not self._remote or self._monotonic() - self._read_at > (_OLD_AFTER_S if self._keys else 0):
            await self.refresh()

    async def refresh(self) -> bool:
        """Read the set again, unless that was just done; tell whether there may be other keys now."""
        before = self.generation
        async with self._reading:
            if self.generation != before:
                return True
            if self._monotonic() - self._read_at < (_AGAIN_AFTER_S if self._remote else 0):
                return False
            try:
                return self._take(await self._fetch())
            except (OSError, aiohttp.ClientError, TimeoutError, Fatal) as error:
                _log.warning("jwks.unread", place=self._place, error=str(error) or type(error).__name__)
                return False

    @property
    def _remote(self) -> bool:
        return self._place.startswith(("https://", "http://"))

    async def _fetch(self) -> bytes:
        self._read_at = self._monotonic()
        if not self._remote:
            return Path(self._place).read_bytes()
        timeout = aiohttp.ClientTimeout(total=_FETCH_WITHIN_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session,
            session.get(self._place, allow_redirects=False) as response,
        ):
            content = b""
            async for chunk in response.content.iter_chunked(65_536):
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise Fatal(f"gateway.jwt.jwks: {self._place} has more than {_MAX_BYTES} bytes")
            return content

    def _take(self, content: bytes) -> bool:
        """Take over a set that differs from the present one.

        Raises:
            Fatal: it is none, or holds no public key.
        """
        if content == self._content:
            return False
        try:
            found = jwt.PyJWKSet.from_dict(msgspec.json.decode(content, type=dict[str, Any])).keys
        except (msgspec.MsgspecError, jwt.PyJWTError) as error:
            raise Fatal(f"gateway.jwt.jwks: {self._place} is no JWK set: {error}") from error
        # A symmetric key ("oct") in a published set would be a secret that everybody knows.
        public = {
            key.key_id: key
            for key in found
            if key.key_type in _KINDS.values() and key.public_key_use in {None, "sig"}
        }
        if not public:
            raise Fatal(f"gateway.jwt.jwks: {self._place} holds no public key that signs")
        self._content, self._keys = content, public
        self.generation += 1
        _log.info("jwks.read", keys=len(public))
        return True
