"""Real log files: the lines that Kafka, Redis and the workers write in, log events of a `logs` stream out.

A line about a log event would become a log event, and so on without end. So debug lines are left out, this
worker's own file is not read at all, and each file only at a bounded rate (what is too much waits in it).
"""

import socket
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from schemas import codec, topics
from schemas.raw import structured
from schemas.record import Kind, Outgoing
from streams.sources.parse import parse
from streams.sources.tail import Line, Mark, Tail

_CHATTER: Final = "debug"


class LogSource:
    """Follows every `*.log` in a folder, those that appear later included.

    `lines_per_poll` bounds what one file gives at a time.
    """

    def __init__(
        self,
        stream: str,
        folder: Path,
        marks: dict[str, Mark],
        *,
        leave_out: Iterable[str] = (),
        lines_per_poll: int = 200,
        host: str = "",
    ) -> None:
        self._stream = stream
        self._folder = folder
        self._marks = marks
        self._leave_out = frozenset(leave_out)
        self._lines_per_poll = lines_per_poll
        self._host = host or socket.gethostname()
        self._tails: dict[Path, Tail] = {}

    def poll(self, now: datetime) -> list[Outgoing]:
        """Return the events of new lines; `now` (aware UTC) is the time of those that name none."""
        for path in sorted(self._folder.glob("*.log")):
            if path not in self._tails and path.name not in self._leave_out:
                self._tails[path] = Tail(path, self._marks.get(str(path)))
        records: list[Outgoing] = []
        for path, tail in self._tails.items():
            for line in tail.poll(self._lines_per_poll):
                record = self._event(path, line, now)
                if record is not None:
                    records.append(record)
        return records

    def marks(self) -> dict[str, Mark]:
        """Return how far each file was read: what to save once the events are in Kafka."""
        read = {str(path): tail.mark for path, tail in self._tails.items()}
        return {**self._marks, **{path: mark for path, mark in read.items() if mark is not None}}

    def close(self) -> None:
        """Close the files."""
        for tail in self._tails.values():
            tail.close()

    def _event(self, path: Path, line: Line, now: datetime) -> Outgoing | None:
        if not line.raw.strip():
            return None
        parsed = parse(line.raw, self._host)
        if parsed.line.level == _CHATTER:
            return None
        source = f"log/{self._host}/{path.name}"
        event = structured(
            f"{line.identity}:{line.offset}",
            source,
            Kind.LOG,
            parsed.line,
            time=(parsed.time or now).isoformat(),
            stream=self._stream,
        )
        return Outgoing(topics.RAW.name, source.encode(), codec.encode(event))
