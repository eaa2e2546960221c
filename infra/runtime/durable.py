"""Records in files that outlive a crash: consumes a record, produces its JSON whole or not at all."""

import os
from pathlib import Path
from typing import Any

import msgspec


def write(path: Path, record: Any) -> Path:
    """Write a record as JSON so that a crash leaves the old file or the new one."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(msgspec.json.encode(record))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path
