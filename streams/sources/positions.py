"""Where the log sources stand: marks in, a file in the data folder out, replaced in one step.

It is written after the brokers acknowledged the lines. A crash in between repeats lines, with the same ids,
and the cleaning stage drops the copies.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from infra.runtime.log import get_logger
from streams.sources.tail import Mark

_log = get_logger(__name__)
_DECODER: Final = msgspec.json.Decoder(dict[str, Mark])


class Positions:
    """The marks of all followed files, by path."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: dict[str, Mark] = {}

    def load(self) -> dict[str, Mark]:
        """Return the marks as last saved; none when there is no file, or none that can be read."""
        try:
            self._saved = _DECODER.decode(self._path.read_bytes())
        except FileNotFoundError:
            self._saved = {}
        except msgspec.MsgspecError as error:
            # Beginning anew repeats lines with the ids they had, which is harmless; stopping would lose some.
            _log.warning("positions.unreadable", path=str(self._path), error=str(error))
            self._saved = {}
        return dict(self._saved)

    def save(self, marks: Mapping[str, Mark]) -> None:
        """Replace the file, on disk before its name changes."""
        if marks == self._saved:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with scratch.open("wb") as file:
            file.write(msgspec.json.encode(marks))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._path)
        self._saved = dict(marks)
