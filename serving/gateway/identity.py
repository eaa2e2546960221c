"""Who asks: what a key or token proved, handed on by the guard to limits, audit and endpoints."""

import functools
import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from serving.gateway.scopes import Scope


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller. `subject` is a key's id or a token's `sub`; limits that are None are the gateway's own."""

    kind: Literal["key", "jwt", "open", "unknown"]
    subject: str
    scopes: frozenset[Scope] = frozenset()
    requests_per_s: float | None = None
    burst: int | None = None
    events_per_day: int | None = None

    @property
    def audited(self) -> str:
        """Return `name` as log and audit may have it: of an e-mail address only what tells people apart."""
        return _masked(self.name) if "@" in self.subject else self.name

    @property
    def name(self) -> str:
        """Return kind and subject, as limits and audit know the caller: `key/4f1d…`."""
        return f"{self.kind}/{self.subject}" if self.subject else self.kind


@functools.lru_cache(maxsize=4096)
def _masked(name: str) -> str:
    """Return `jwt/a…@example.org#0f3c…`: who knows the address can check it against the hash's head."""
    head, _, domain = name.partition("@")
    kind, _, local = head.partition("/")
    return f"{kind}/{local[:1]}…@{domain}#{hashlib.sha256(name.encode()).hexdigest()[:8]}"


ANYBODY: Final = Identity("open", "", frozenset(Scope))
"""The caller of a gateway that asks for no key."""

UNKNOWN: Final = Identity("unknown", "")
"""A caller who has proved nothing."""
