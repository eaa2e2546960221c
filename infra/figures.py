"""What a command measured, as JSON: consumes its figures, writes them where `--json` says."""

import sys
from pathlib import Path
from typing import Any

import msgspec


def write_figures(figures: Any, target: str) -> None:
    """Write figures as indented JSON to a file, or to standard output for `-`; nothing for an empty name."""
    if not target:
        return
    payload = msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"
    if target == "-":
        sys.stdout.buffer.write(payload)
        sys.stdout.buffer.flush()
        return
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(payload)
