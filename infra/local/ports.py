"""Chooses loopback ports for the local services: consumes candidates, produces leased ports.

Two stacks that start at the same moment must not choose the same port although neither has bound it yet, so
a port is leased by a file lock for as long as its supervisor lives. The lock goes with the process, even
with ``kill -9``.
"""

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from infra.local.errors import StackError

LOOPBACK = "127.0.0.1"
# Below the kernel's ephemeral range (32768 and up), so that no outgoing connection sits on a port we chose.
FREE_RANGE = range(20_000, 32_000)


class PortLease:
    """A port that no other stack of this machine will choose until ``release`` or this process's end."""

    def __init__(self, port: int, lock_fd: int) -> None:
        self.port = port
        self._lock_fd: int | None = lock_fd

    def release(self) -> None:
        """Give the port back; calling twice is harmless."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def lease_port(*candidates: int | None, tries: int = 200) -> PortLease:
    """Lease the first free port of ``candidates`` (None is passed over), else a random free one.

    Raises:
        StackError: nothing free was found.
    """
    chooser = random.SystemRandom()
    wanted = [port for port in candidates if port is not None]
    for port in wanted + [chooser.choice(FREE_RANGE) for _ in range(tries)]:
        lease = _try_lease(port)
        if lease is not None:
            return lease
    raise StackError(f"no free port found on {LOOPBACK} after {tries} tries")


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now: nobody listens on loopback or on all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a closed connection's TIME_WAIT does not make the port taken, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _try_lease(port: int) -> PortLease | None:
    lock_fd = _lock(port)
    if lock_fd is None:
        return None
    if not is_free(port):
        os.close(lock_fd)
        return None
    return PortLease(port, lock_fd)


def _lock(port: int) -> int | None:
    folder = Path(tempfile.gettempdir()) / f"headrace-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    lock_fd = os.open(folder / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with suppress(BlockingIOError):  # another stack holds this port: the caller tries the next one
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return lock_fd
    os.close(lock_fd)
    return None
