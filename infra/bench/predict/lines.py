"""Real log lines as clean events: consumes structured logs (loghub), produces lines by turns, rows to learn.

The model tells which system a line is from. Lines pass the cleaning operators, so that the model is asked of
masked text, as on a stream.
"""

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, zip_longest
from pathlib import Path
from typing import Final

import msgspec

from infra.demo.first_model import HistoryRecord
from schemas import codec, topics
from schemas.clean import Clean
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.raw import structured
from schemas.record import Coordinates, Kind
from streams.operators.pipeline import CleanPipeline

STREAM: Final = "lines"
SYSTEMS: Final = ("Apache", "HDFS", "OpenSSH")
_TAUGHT: Final = 200
_SOURCES: Final = 16


def lines_of(folder: Path, stream: Stream) -> list[Clean]:
    """Return the lines of the systems' logs, a line of each by turns, cleaned.

    Raises:
        Fatal: a log is missing.
    """
    now = datetime.now(UTC)
    texts = [[(system, text) for text in _texts(folder, system)] for system in SYSTEMS]
    records = []
    for number, (system, text) in enumerate(line for turn in zip_longest(*texts) for line in turn if line):
        event = structured(
            f"{number}", f"{system}-{number % _SOURCES}", Kind.LOG, {"message": text},
            time=now.isoformat(), stream=STREAM,
        )  # fmt: skip
        records.append(HistoryRecord(number, msgspec.json.encode(event), int(now.timestamp() * 1000)))
    batch = CleanPipeline({STREAM: stream}).process(records, now)
    return [codec.decode(out.value, Clean) for out in batch.outgoing if out.topic == topics.CLEAN.name]


def taught(lines: Sequence[Clean]) -> list[tuple[Clean, str]]:
    """Return the first lines of each system with its name."""
    found = [
        [(line, system) for line in lines if line.source.startswith(f"{system}-")][:_TAUGHT]
        for system in SYSTEMS
    ]
    return list(chain.from_iterable(found))


def asked(lines: Sequence[Clean], passed: int, *, new: bool = False) -> Iterator[Clean]:
    """Yield the lines as events of their own; with `new` none has a text that was there before."""
    for number, line in enumerate(lines):
        yield msgspec.structs.replace(
            line,
            id=f"{passed}-{number}",
            time=datetime.now(UTC),
            raw=Coordinates("events.raw", passed, number),
            text=f"{line.text} trace {passed:x}x{number:x}" if new else line.text,
        )


def _texts(folder: Path, system: str) -> list[str]:
    path = folder / f"{system}_2k.log_structured.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [row["Content"] for row in csv.DictReader(file)]
    except FileNotFoundError:
        raise Fatal(f"{path} is missing; --data names the folder of loghub's structured logs") from None
