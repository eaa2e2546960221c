"""The first model: consumes labelled events from before the run, produces its release.

The events pass through the same cleaning operators as those on `events.raw`, so what the first model learns
from reads exactly as what it will be asked.
"""

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from infra.demo.feed import Event
from infra.local.process import GUARD, log_tail
from schemas import codec, topics
from schemas.clean import Clean
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.raw import structured
from schemas.release import Release
from streams.operators.pipeline import CleanPipeline

ORIGIN: Final = "demo.history"
"""The topic's name in the coordinates of these events: they were never on one."""


class HistoryRecord(NamedTuple):
    """An event before the run, in the shape in which the operators take records."""

    offset: int
    value: bytes
    timestamp: int
    topic: str = ORIGIN
    partition: int = 0
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes]] = (("content-type", b"application/cloudevents+json"),)


def cleaned(streams: Mapping[str, Stream], events: Sequence[Event], now: datetime) -> list[Clean]:
    """Clean events as the `streams` worker does; those that it would reject are left out."""
    began = now - timedelta(seconds=max((event.due_s for event in events), default=0.0) + 60)
    records = []
    for offset, event in enumerate(events):
        moment = began + timedelta(seconds=event.due_s)
        source, event_id = event.identity
        envelope = structured(
            event_id, source, event.kind, event.data, time=moment.isoformat(), stream=event.stream
        )
        records.append(HistoryRecord(offset, msgspec.json.encode(envelope), int(moment.timestamp() * 1000)))
    batch = CleanPipeline(streams).process(records, now)
    return [codec.decode(out.value, Clean) for out in batch.outgoing if out.topic == topics.CLEAN.name]


def write_rows(streams: Mapping[str, Stream], events: Sequence[Event], path: Path) -> int:
    """Write cleaned events and their labels, one JSON object a line; return how many."""
    labels = {event.identity: event.label for event in events}
    rows = [
        {"clean": clean, "label": labels[clean.source, clean.id] or None}  # type: ignore[index]  # an Identity is that tuple
        for clean in cleaned(streams, events, datetime.now(UTC))
    ]
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return len(rows)


async def train(home: Path, config: Path, stream: str, rows: Path) -> Release:
    """Train on a rows file and return the release record, still to be published.

    Raises:
        Fatal: the training failed; the message carries the end of its log.
    """
    log = home / "log" / "first-model.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "trainers.bootstrap", stream, str(rows)]
    environment = {
        **os.environ,
        "HEADRACE_HOME": str(home),
        "HEADRACE_CONFIG": str(config),
        "HEADRACE_TRAINER_THREADS": str(min(2, os.cpu_count() or 1)),
    }
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the demo alone, which ends this in order
        )
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):  # it ended by itself meanwhile
                    process.kill()
                await process.wait()
    if process.returncode != 0:
        raise Fatal(f"the first model of {stream!r} could not be trained:\n{log_tail(log)}")
    return codec.decode(out.splitlines()[-1], Release)
