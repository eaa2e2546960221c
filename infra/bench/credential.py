"""A key for a benchmark's own gateway: consumes its data folder, produces what its callers send."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from serving.gateway import keys
from serving.gateway.scopes import Scope

COUNTED: Final = """
[gateway]
auth = "required"
[gateway.limits]
requests_per_s = 1000000
burst = 1000000
"""
"""Asks for a key, and has limits that count every request and refuse none: counting is what is measured."""


def key_for(home: Path, scope: Scope) -> str:
    """Make the only key of a gateway that has its data in `home`."""
    (home / keys.FILE).unlink(missing_ok=True)
    id, text = keys.fresh()
    now = datetime.now(UTC)
    made = keys.Key(id=id, name="bench", sha256="", scopes=(scope,), created_at=now, created_by="bench")
    return keys.create(home, made, text)
