"""Memory of everything the demo started: consumes this process's tree, produces its resident bytes."""

import os
from contextlib import suppress

import psutil


def tree_rss_bytes(pid: int | None = None) -> int:
    """Return the resident memory of a process and all its descendants.

    Pages that several of them share count once for each, so the sum is an upper bound.
    """
    total = 0
    with suppress(psutil.NoSuchProcess):  # the root itself ended
        root = psutil.Process(os.getpid() if pid is None else pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):  # ended while it was looked at
                total += process.memory_info().rss
    return total
