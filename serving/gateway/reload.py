"""Takes over what changes while the gateway runs: `headrace.toml`, keys of callers and tokens, certificate.

Files are looked at once a second. A file that is wrong changes nothing: the log and a metric say so until it
is right again.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.runtime import metrics
from infra.runtime.hot import Hot, Watched
from infra.runtime.log import get_logger
from schemas.config import Headrace
from schemas.errors import Fatal
from serving.gateway import keys
from serving.gateway.shield import Shield
from serving.gateway.tls import Certificate

_EVERY_S: Final = 1.0
_log = get_logger(__name__)


class Reloader:
    """Watches the files of one gateway. `relevel` is called after a change of `headrace.toml`."""

    def __init__(
        self,
        path: Path,
        running: Headrace,
        home: Path,
        shield: Shield,
        relevel: Callable[[], None],
        certificate: Certificate | None = None,
    ) -> None:
        self._home = home
        self._shield = shield
        self._relevel = relevel
        self._certificate = certificate
        self._hot = Hot(path, running, "gateway", shield.trail)
        self._hot.tell(self._take)
        self._keys = Watched(home / keys.FILE)
        self._keys.changed()
        metrics.set_settings_valid(keys.FILE, valid=True)

    async def run(self) -> None:
        """Watch until cancelled."""
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
        self._hot.poll()
        if self._keys.changed() is not None:
            self._take_keys()
        if self._certificate is not None:
            self._renew(self._certificate)

    def _renew(self, certificate: Certificate) -> None:
        try:
            told = certificate.poll()
        except Fatal as error:
            _log.error("certificate.refused", error=str(error), in_force="the certificate from before")
            self._shield.trail.changed("certificate.renewed", "refused", str(error)[:500])
            return
        if told is not None:
            self._shield.trail.changed("certificate.renewed", "done", told)

    def _take(self, config: Headrace) -> None:
        self._shield.current.section = config.gateway
        self._relevel()

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
        if self._shield.current.section.auth == "auto" and not access.asks:
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
