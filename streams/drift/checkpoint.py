"""The drift worker's memory on disk: consumes watches and positions, produces a file never half-written."""

import os
from pathlib import Path
from typing import Any, Final

import msgspec

from infra.runtime.log import get_logger
from schemas.drift import DriftAlert

_log = get_logger(__name__)
_FORMAT: Final = 5


class Checkpoint(msgspec.Struct, kw_only=True):
    """Where each partition is to be read on, what each watch remembers, and alerts that are being written.

    `outbox` was saved before its alerts were sent: after a crash those not on the topic are sent again, so an
    alert is neither lost nor written twice. `configs` tells whether a watch's memory still fits its stream.
    """

    format: int = _FORMAT
    positions: dict[str, int]
    watches: dict[str, Any]
    configs: dict[str, str]
    outbox: list[DriftAlert] = []


class CheckpointFile:
    """One file under the data folder, replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Checkpoint | None:
        """Return what was saved last; None when there is nothing or it cannot be read."""
        try:
            payload = self._path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            checkpoint = msgspec.msgpack.decode(payload, type=Checkpoint)
        except msgspec.MsgspecError as error:
            _log.warning("drift_checkpoint.unreadable", path=str(self._path), error=str(error))
            return None
        return checkpoint if checkpoint.format == _FORMAT else None

    def save(self, checkpoint: Checkpoint) -> None:
        """Write durably: the old file or the new one is there at any moment."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(msgspec.msgpack.encode(checkpoint))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
