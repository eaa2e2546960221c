"""API keys: made and revoked by `headrace keys`, checked by the gateway; only hashes are kept.

A key is `hr_ID_SECRET`. The secret is 256 random bits, so that its SHA-256 needs neither salt nor stretching:
there is nothing to guess. The file `gateway-keys.json` of the data folder is replaced in one step and can be
read by its owner alone; a revoked key stays in it, so that the file says who could come in when.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import Fatal
from serving.gateway.identity import Identity
from serving.gateway.scopes import Scope

FILE: Final = "gateway-keys.json"
PREFIX: Final = "hr_"
_FORM: Final = re.compile(r"hr_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NOBODY: Final = hashlib.sha256(b"").digest()


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key as it is kept. Limits that are None are the gateway's own (`gateway.limits`)."""

    id: str
    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""
    requests_per_s: float | None = None
    burst: int | None = None
    events_per_day: int | None = None

    def standing(self, now: datetime) -> str:
        """Return `valid`, `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and now >= self.expires_at else "valid"


class Ring:
    """The keys of one moment, ready to be asked."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self.keys = {key.id: key for key in keys}
        self._hashes = {key.id: bytes.fromhex(key.sha256) for key in keys}
        self._identities = {
            key.id: Identity(
                "key", key.id, frozenset(key.scopes), key.requests_per_s, key.burst, key.events_per_day
            )
            for key in keys
        }

    def find(self, text: str) -> Key | None:
        """Return the key that a text is, whatever its standing, or None. Takes as long for any secret."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        given = hashlib.sha256(text.encode()).digest()
        if not hmac.compare_digest(given, self._hashes.get(match[1], _NOBODY)):
            return None
        return self.keys[match[1]]

    def identity(self, key: Key) -> Identity:
        """Return who the holder of a key is."""
        return self._identities[key.id]


def read(home: Path) -> list[Key] | None:
    """Read the keys of a data folder; None where there was never one.

    Raises:
        Fatal: the file can be read by others, or is not what was written.
    """
    path = home / FILE
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            content = file.read()
    except FileNotFoundError:
        return None
    if mode & 0o027:  # a mounted secret is its group's to read
        raise Fatal(f"{path} can be read or changed by others (mode {mode:o}); run: chmod 600 {path}")
    try:
        return msgspec.json.decode(content, type=list[Key])
    except msgspec.MsgspecError as error:
        raise Fatal(f"{path} is damaged: {error}") from error


def create(home: Path, made: Key, secret: str) -> str:
    """Keep a key whose `sha256` is still empty and return its text, which is kept nowhere.

    Raises:
        Fatal: another valid key has this name, or the file is damaged.
    """
    text = f"{PREFIX}{made.id}_{secret}"
    with _changing(home) as keys:
        if any(key.name == made.name and key.standing(made.created_at) == "valid" for key in keys):
            raise Fatal(
                f"a valid key is called {made.name!r} already; choose another name, or revoke it first"
            )
        keys.append(msgspec.structs.replace(made, sha256=hashlib.sha256(text.encode()).hexdigest()))
    return text


def revoke(home: Path, wanted: str, by: str, now: datetime) -> Key:
    """Revoke a key by its id or its name and return it; gateways that run take notice within seconds.

    Raises:
        Fatal: no valid key is called so.
    """
    with _changing(home) as keys:
        for index, key in enumerate(keys):
            if wanted in {key.id, key.name} and key.revoked_at is None:
                keys[index] = msgspec.structs.replace(key, revoked_at=now, revoked_by=by)
                return keys[index]
        raise Fatal(f"no key is called {wanted!r}, or it is revoked already; see `headrace keys list`")


def fresh() -> tuple[str, str]:
    """Return the id and the secret of a new key, from the system's randomness."""
    return secrets.token_hex(6), secrets.token_urlsafe(32)


@contextlib.contextmanager
def _changing(home: Path) -> Iterator[list[Key]]:
    """Yield the keys to be changed; afterwards they are written, if nothing was raised."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / f".{FILE}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        keys = read(home) or []
        yield keys
        scratch = home / f".{FILE}.{os.getpid()}"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # pathlib opens no descriptor
            file.write(msgspec.json.format(msgspec.json.encode(keys)))
            file.flush()
            os.fsync(descriptor)
        scratch.replace(home / FILE)
