"""Follows one log file: its bytes in, whole lines with their place out, through rotation and truncation.

A line's place is its file's identity and its offset there. The identity is made of the inode, the file's
first line and how often it was seen truncated, so it stays when the file is renamed, and is another when the
inode is used again. Not seen: a file truncated and grown beyond the old position with the very same first
line between two looks; what a compressing rotation removed before it was read is gone.
"""

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import IO, Final, NamedTuple

import msgspec

MAX_LINE_BYTES: Final = 32 * 1024
"""A longer line is handed on in pieces of this size."""

_CHUNK_BYTES: Final = 256 * 1024
_HEAD_BYTES: Final = 4096
_COMPRESSED: Final = (".gz", ".xz", ".zst", ".bz2")


class Mark(msgspec.Struct, frozen=True):
    """How far a file was read: `position` is the offset of the first byte not handed on yet."""

    inode: int
    identity: str
    position: int
    truncations: int = 0


class Line(NamedTuple):
    """One line, or a piece of a very long one, without its newline."""

    identity: str
    offset: int
    raw: bytes


class Tail:
    """Reads one path's lines, from `mark` on. Reading blocks for as long as the disk does."""

    def __init__(self, path: Path, mark: Mark | None = None) -> None:
        self.path = path
        self._reached = mark  # how far the lines handed on reach, whichever file they were in
        self._mark: Mark | None = None  # the same in the open file; None until its first line is whole
        self._truncations = 0
        self._file: IO[bytes] | None = None
        self._waiting = self._successors(mark.inode) if mark is not None else []
        self._replaced_at: int | None = None

    @property
    def mark(self) -> Mark | None:
        """Return how far the lines handed on reach; None before the first."""
        return self._mark or self._reached

    def poll(self, max_lines: int) -> list[Line]:
        """Return up to `max_lines` new lines; a line still without its newline waits."""
        lines: list[Line] = []
        while len(lines) < max_lines:
            if self._file is None and not self._open():
                break
            found = self._read(max_lines - len(lines))
            lines += found
            if not found and not self._next_file(lines):
                break
        return lines

    def close(self) -> None:
        """Close the file; the mark stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> bool:
        """Open the next file: a rotated one that was not read to its end, else the path itself."""
        while self._file is None:
            path = self._waiting.pop(0) if self._waiting else self.path
            try:
                self._file = path.open("rb")
            except FileNotFoundError:
                if path == self.path:
                    return False
        self._mark, self._truncations, self._replaced_at = None, 0, None
        if self._reached is not None:
            self._continue(self._reached)
        return True

    def _continue(self, reached: Mark) -> None:
        """Go on from an earlier mark if it was made in the open file."""
        status = os.fstat(self._fd())
        if status.st_ino != reached.inode:
            return
        self._truncations = reached.truncations
        if status.st_size < reached.position:
            self._truncations += 1
        elif _identity(self._head(), reached.inode, reached.truncations) == reached.identity:
            self._mark = reached

    def _read(self, max_lines: int) -> list[Line]:
        """Hand on the whole lines after the mark, and move it behind them."""
        mark = self._mark or self._begin()
        if mark is None:
            return []
        chunk = os.pread(self._fd(), _CHUNK_BYTES, mark.position)
        lines: list[Line] = []
        start = 0
        while start < len(chunk) and len(lines) < max_lines:
            end = chunk.find(b"\n", start, start + MAX_LINE_BYTES + 1)
            if end >= 0:
                lines.append(Line(mark.identity, mark.position + start, chunk[start:end]))
                start = end + 1
            elif len(chunk) - start > MAX_LINE_BYTES:
                end = start + MAX_LINE_BYTES
                lines.append(Line(mark.identity, mark.position + start, chunk[start:end]))
                start = end
            else:
                break
        self._mark = msgspec.structs.replace(mark, position=mark.position + start)
        return lines

    def _begin(self) -> Mark | None:
        """Make the mark of a file's beginning; None until its first line is whole."""
        head = self._head()
        if b"\n" not in head and len(head) < _HEAD_BYTES:
            return None
        inode = os.fstat(self._fd()).st_ino
        return Mark(inode, _identity(head, inode, self._truncations), 0, self._truncations)

    def _next_file(self, lines: list[Line]) -> bool:
        """At a file's end: tell whether there is more to read, because it was truncated or replaced."""
        status = os.fstat(self._fd())
        if self._mark is not None and status.st_size < self._mark.position:
            # Counted even if the first line is the same again: its lines are new ones and need new ids.
            self._reached, self._mark = self._mark, None
            self._truncations += 1
            return True
        if not self._waiting and not self._surely_replaced(status.st_ino, status.st_size):
            return False
        lines += self._last_words()
        self._waiting = self._waiting or self._successors(status.st_ino)[1:]
        self._reached = self._mark or self._reached
        self.close()
        return True

    def _surely_replaced(self, inode: int, size: int) -> bool:
        """Tell whether another file is there for the second time running, and this one has not grown since.

        Who rotates a file writes to the old one a little longer, until it opens the new one.
        """
        if not self._replaced(inode):
            self._replaced_at = None
            return False
        before, self._replaced_at = self._replaced_at, size
        return before == size

    def _replaced(self, inode: int) -> bool:
        try:
            return self.path.stat().st_ino != inode
        except FileNotFoundError:
            return False  # moved away; the new one is still to come, and the old one may still grow

    def _last_words(self) -> list[Line]:
        """Return what a file that will not grow any more ends with although no newline follows."""
        mark = self._mark
        if mark is None:
            inode = os.fstat(self._fd()).st_ino
            mark = Mark(inode, _identity(self._head(), inode, self._truncations), 0, self._truncations)
        rest = os.pread(self._fd(), MAX_LINE_BYTES, mark.position)
        if not rest:
            return []
        self._mark = msgspec.structs.replace(mark, position=mark.position + len(rest))
        return [Line(mark.identity, mark.position, rest.rstrip(b"\n"))]

    def _successors(self, inode: int) -> list[Path]:
        """Return the file of this inode and those written after it, oldest first, as rotation left them."""
        found: list[tuple[int, Path, int]] = []
        for candidate in self.path.parent.glob(f"{self.path.name}*"):
            with suppress(FileNotFoundError):  # rotation goes on while we look
                status = candidate.stat()
                related = candidate == self.path or candidate.name.startswith(f"{self.path.name}.")
                if related and candidate.suffix not in _COMPRESSED:
                    found.append((status.st_mtime_ns, candidate, status.st_ino))
        found.sort(key=lambda one: (one[1] == self.path, one[0]))  # the live file is the newest
        inodes = [found_inode for _, _, found_inode in found]
        return [path for _, path, _ in found[inodes.index(inode) :]] if inode in inodes else []

    def _head(self) -> bytes:
        head = os.pread(self._fd(), _HEAD_BYTES, 0)
        return head.partition(b"\n")[0] + b"\n" if b"\n" in head else head

    def _fd(self) -> int:
        if self._file is None:
            raise RuntimeError("no file is open")
        return self._file.fileno()


def _identity(head: bytes, inode: int, truncations: int) -> str:
    return blake2b(b"%d:%d:%s" % (inode, truncations, head), digest_size=8).hexdigest()
