"""Takes over what changes while the gateway runs: `headrace.toml`, the file of keys, the set of public keys.

Files are looked at once a second. A file that is wrong changes nothing: the log and a metric say so until it
is right again.
"""

import asyncio
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from infra.runtime import log, metrics
from infra.runtime.settings import parse
from schemas.config import Headrace
from schemas.errors import Fatal
from schemas.gateway import HOT
from serving.gateway import keys
from serving.gateway.shield import Shield

_EVERY_S: Final = 1.0
_log = log.get_logger(__name__)


class Watched:
    """One file: tells its contents when they differ from those that were seen last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._hash = b""

    def changed(self) -> bytes | None:
        """Return new contents; None where there are none, or the file is away."""
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if stamp == self._stamp:
                return None
            content = self._path.read_bytes()
        except OSError:
            return None
        self._stamp = stamp
        seen, self._hash = self._hash, sha256(content).digest()
        return content if self._hash != seen else None


class Changes(NamedTuple):
    """The keys of `headrace.toml` that differ from what runs, by what it takes to apply them."""

    hot: tuple[str, ...]
    cold: tuple[str, ...]


class Reloader:
    """Watches the files of one gateway. `relevel` is called after a change of the log level."""

    def __init__(
        self, path: Path, running: Headrace, home: Path, shield: Shield, relevel: Callable[[], None]
    ) -> None:
        self._path = path
        self._running = running
        self._home = home
        self._shield = shield
        self._relevel = relevel
        self._config = Watched(path)
        self._keys = Watched(home / keys.FILE)
        self._config.changed()
        self._keys.changed()
        for name in ("headrace.toml", keys.FILE):
            metrics.set_settings_valid(name, valid=True)

    async def run(self) -> None:
        """Watch until cancelled."""
        hot = [f"gateway.{name}" for name in HOT]
        _log.info("config.watched", path=str(self._path), without_restart=hot, others="need a restart")
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                self.poll()
                if self._shield.keyset is not None:
                    await self._shield.keyset.poll()
            except Exception:  # noqa: BLE001  # a gateway that watches no more would keep a revoked key
                _log.exception("reload.failed")

    def poll(self) -> None:
        """Look at the files once."""
        content = self._config.changed()
        if content is not None:
            self._take_config(content)
        if self._keys.changed() is not None:
            self._take_keys()

    def _take_config(self, content: bytes) -> None:
        try:
            wanted = parse(content.decode(), str(self._path))
        except (Fatal, UnicodeDecodeError, RecursionError) as error:
            metrics.set_settings_valid("headrace.toml", valid=False)
            _log.error("config.refused", error=str(error), in_force="the settings from before")
            self._shield.trail.changed("config.reloaded", "refused", "the file is wrong")
            return
        metrics.set_settings_valid("headrace.toml", valid=True)
        changes = differences(self._running, wanted)
        section = self._running.gateway.model_copy(
            update={name: getattr(wanted.gateway, name) for name in HOT}
        )
        self._running = self._running.model_copy(update={"gateway": section})
        self._shield.current.section = section
        if "gateway.log_level" in changes.hot:
            log.set_level(section.log_level or None)
            self._relevel()
        _log.info("config.reloaded", taken_over=changes.hot, needs_restart=changes.cold)
        self._shield.trail.changed("config.reloaded", "done", ", ".join((*changes.hot, *changes.cold)))

    def _take_keys(self) -> None:
        try:
            kept = keys.read(self._home)
        except Fatal as error:
            metrics.set_settings_valid(keys.FILE, valid=False)
            _log.error("keys.refused", error=str(error), in_force="the keys from before")
            return
        metrics.set_settings_valid(keys.FILE, valid=True)
        access = self._shield.access
        before, access.ring = access.ring, keys.Ring(kept or ())
        if self._running.gateway.auth == "auto" and not access.asks:
            access.asks = True
            _log.warning("gateway.closed", hint="there are keys now: every request needs one")
        for key in access.ring.keys.values():
            old = before.keys.get(key.id)
            if old is None:
                self._tell("created", key.id, key.created_by)
            elif key.revoked_at is not None and old.revoked_at is None:
                self._tell("revoked", key.id, key.revoked_by)

    def _tell(self, what: str, key: str, by: str) -> None:
        _log.info("keys.changed", what=what, key=key, by=by)
        self._shield.trail.changed("keys.changed", "done", f"key/{key} {what} by {by}")


def differences(running: Headrace, wanted: Headrace) -> Changes:
    """Compare two configurations key by key."""
    old, new = dict(_flat(running.model_dump())), dict(_flat(wanted.model_dump()))
    differing = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    hot = tuple(key for key in differing if key.startswith(tuple(f"gateway.{name}" for name in HOT)))
    return Changes(hot, tuple(key for key in differing if key not in hot))


def _flat(section: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in section.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
