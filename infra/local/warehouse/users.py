"""Who may use the local warehouse: consumes a users file and credentials, produces a ``User``."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.local.warehouse.errors import AUTHENTICATION_FAILED, refused


@dataclass(frozen=True)
class User:
    """A user; ``readonly``: 0 may all, 1 read, 2 read with settings. Without a digest any password does."""

    name: str
    readonly: int = 0
    password_sha256: str = ""


# Loopback alone reaches the port, so these two need no password unless a users file gives them one.
DEFAULT_USERS = (User("default"), User("analyst", readonly=2))


class Users:
    """The users that a server knows."""

    def __init__(self, users: Mapping[str, User] | None = None) -> None:
        self._users = {user.name: user for user in DEFAULT_USERS} if users is None else dict(users)

    @classmethod
    def from_file(cls, path: Path) -> "Users":
        """Read ``{"name": {"password": "…" or "password_sha256": "…", "readonly": 0|1|2}, …}``."""
        users = {}
        for name, entry in json.loads(path.read_text()).items():
            digest = entry.get("password_sha256") or (
                _sha256(entry["password"]) if entry.get("password") else ""
            )
            readonly = int(entry.get("readonly", 0))
            if readonly not in (0, 1, 2):
                raise ValueError(f"{path}: readonly of {name!r} must be 0, 1 or 2")
            users[name] = User(name, readonly, digest.lower())
        return cls(users)

    def authenticate(self, name: str, password: str) -> User:
        """Return the user.

        Raises:
            EngineError: code 516, whether the name or the password is wrong.
        """
        user = self._users.get(name)
        wanted = user.password_sha256 if user else "-"
        # Compared also for an unknown name, so that the time taken does not tell which names exist.
        same = hmac.compare_digest(_sha256(password) if wanted else "", wanted)
        if user is None or not same:
            message = (
                f"{name}: Authentication failed: password is incorrect, or there is no user with such name."
            )
            raise refused(AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", message)
        return user


def _sha256(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()
