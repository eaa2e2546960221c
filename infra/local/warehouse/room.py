"""Room on the disk: consumes the engine's folder, produces a refusal of inserts before the disk is full.

The engine asks for room before it writes a part, but does not notice a write that fails half-way (because
another process took the rest meanwhile, or by a limit on the size of files): it then keeps a part that cannot
be read, and says that it has the rows. So inserts end while there is still room for those under way.
"""

import os
import resource
from pathlib import Path
from typing import Final

from infra.local.warehouse.errors import refused

NOT_ENOUGH_SPACE: Final = 243
LEAST_BYTES: Final = 64 * 1024 * 1024


def room_bytes(path: Path) -> int:
    """Return how much a file in a folder may still grow: free space, and this process's own limit."""
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return free if limit == resource.RLIM_INFINITY else min(free, limit)


def refuse_without_room(path: Path, least_bytes: int = LEAST_BYTES) -> None:
    """Refuse what would write, while there is still room for what is under way.

    Raises:
        EngineError: NOT_ENOUGH_SPACE, which passes once there is room again.
    """
    room = room_bytes(path)
    if room < least_bytes:
        message = f"Not enough space on {path}: {room} bytes left, inserts need {least_bytes}"
        raise refused(NOT_ENOUGH_SPACE, "NOT_ENOUGH_SPACE", message)
