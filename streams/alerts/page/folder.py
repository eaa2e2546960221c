"""The folder of pages: consumes alerts as they are delivered, keeps a page of each of the newest thousand.

A page is there before anybody is told of its alert, and is written again when the alert is over. Whatever
goes wrong with it is logged: people are told all the same, without the page.
"""

import asyncio
import os
import re
from collections import OrderedDict
from pathlib import Path
from typing import Final

from infra.runtime.log import get_logger
from schemas.drift import DriftAlert
from streams.alerts.explanation import Over, ended
from streams.alerts.page.document import page

_log = get_logger("headrace.alerts")
KEPT: Final = 1000
_PATIENCE_S: Final = 5.0
_NAMEABLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
"""Ids that make a file name; others, which no watch of ours gives, have no page."""


class Pages:
    """Writes the pages. Memory: the alerts of which one may hear that they are over, at most a thousand.

    Args:
        folder: where the pages lie; it is made when the first one is written.
        url: the address under which the folder is served; empty where it is not.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        self._folder = folder
        self._url = url.rstrip("/")
        self._standing: OrderedDict[str, DriftAlert] = OrderedDict()

    async def take(self, alert: DriftAlert, *, new: bool) -> None:
        """Write the page of a `new` alert, or on it that it is over; what was taken before is remembered."""
        over = None
        subject: DriftAlert | None = alert
        if alert.recovered:
            subject = self._standing.pop(ended(alert), None)
            over = Over(alert.raised_at, alert.summary)
        else:
            self._standing[alert.id] = alert
            if len(self._standing) > KEPT:
                self._standing.popitem(last=False)
        if subject is None or not new:
            return
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.to_thread(self.write, subject, over)
        except Exception as error:  # noqa: BLE001  # no fault of a page may keep its alert from people
            _log.warning("alert_page.failed", id=alert.id, error=f"{type(error).__name__}: {error}")

    def write(self, alert: DriftAlert, over: Over | None = None) -> Path:
        """Write a page in one step, and remove what is older than the newest thousand.

        Raises:
            ValueError: the alert's id makes no file name.
            OSError: the page cannot be written.
        """
        if not _NAMEABLE.fullmatch(alert.id):
            raise ValueError(f"{alert.id!r} makes no file name")
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{alert.id}.html"
        save(page(alert, over), path)
        self._forget()
        return path

    def place(self, alert: DriftAlert) -> str:
        """Return where the page of an alert is to be found, or of that which it ends; empty without one."""
        id = ended(alert) if alert.recovered else alert.id
        if not _NAMEABLE.fullmatch(id):
            return ""
        path = self._folder / f"{id}.html"
        if not path.is_file():
            return ""
        return f"{self._url}/{path.name}" if self._url else str(path)

    def _forget(self) -> None:
        written = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        for path in written[:-KEPT]:
            path.unlink(missing_ok=True)


def save(text: str, path: Path) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
