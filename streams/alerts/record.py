"""What was delivered where: a small file that outlives the worker, so that nobody is told twice."""

import os
from pathlib import Path
from typing import Final

_KEPT: Final = 10_000


class DeliveryRecord:
    """Lines of `channel id`, appended durably; at the start the newest 10,000 are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        if len(lines) > _KEPT:
            lines = lines[-_KEPT:]
            temporary = path.with_suffix(".tmp")
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            temporary.replace(path)
        self._delivered = set(lines)

    def has(self, channel: str, id: str) -> bool:
        """Tell whether an alert went out on a channel."""
        return f"{channel} {id}" in self._delivered

    def add(self, channel: str, id: str) -> None:
        """Note a delivery; it is on disk when this returns."""
        line = f"{channel} {id}"
        self._delivered.add(line)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
