"""Files of events, one as JSON a line: batches of lines in, batches of the events' home partitions out.

A line lies in no partition. Publishers key events by their source, so that is where its event is taken to be,
or where `dedupe.rekey` says; there all its copies are known, from whatever file or topic they came.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from zlib import crc32

from pyflink.common import Row
from pyflink.datastream import DataStream, FlatMapFunction, RuntimeContext, StreamExecutionEnvironment

from infra.runtime.kafka.partitioner import partition_of
from schemas.config import Stream
from schemas.envelope import decode_event
from schemas.errors import Rejected
from schemas.record import Incoming
from schemas.route import Route
from streams.jobs.ends import gathered_lines, lane_type
from streams.jobs.lane import log_through_flink
from streams.jobs.options import JobOptions
from streams.jobs.packing import batch_of, read
from streams.operators.dead_letter import MAX_ORIGINAL_BYTES
from streams.operators.decoding import Decoding
from streams.operators.dedupe import fingerprint
from streams.operators.home import Home

_MOST_BYTES: Final = 2**30


def at_home(
    told: JobOptions, named: Sequence[str], made: StreamExecutionEnvironment, keys: Sequence[int]
) -> DataStream:
    """Return the lines of files as batches of their home partitions, whose lanes have these keys."""
    lines = gathered_lines(made, named, kept_bytes(told.settings().config.streams))
    return lines.flat_map(AtHome(told, keys), output_type=lane_type()).name("at home").uid("at home")


def kept_bytes(streams: Mapping[str, Stream]) -> int:
    """Return how much of a line is kept: enough to tell that it is too long, and for its dead letter."""
    largest, _ = Decoding.of(streams.values())
    return min(max(largest, MAX_ORIGINAL_BYTES) + 1, _MOST_BYTES)


class Homes:
    """Says in which of `partitions` a line is cleaned, so that the stage need not forward it."""

    def __init__(self, streams: Mapping[str, Stream], partitions: int) -> None:
        self._streams = streams
        self._route = Route(streams)
        self._home = Home(partitions, partition_of)
        self._decoding = Decoding.of(streams.values())

    def of(self, record: Incoming) -> int:
        """Return the partition; lines that are no events are spread by their content."""
        limit, repair = self._decoding
        try:
            event = decode_event(record.value, record.headers, max_bytes=limit, repair=repair)
        except Exception:  # noqa: BLE001  # whatever is wrong with it, the stage says it, in any partition
            return crc32(record.value or b"") % self._home.partitions
        published = self._home.of_source(event.source)
        try:
            rekey = self._streams[self._route.stream_of(event)].dedupe.rekey
        except Rejected:
            return published
        return self._home.of(rekey, event.source, fingerprint(event.source, event.id), published)

    def split(self, records: Sequence[Incoming]) -> dict[int, list[Incoming]]:
        """Return the records by partition, in each in their order."""
        found: dict[int, list[Incoming]] = {}
        for record in records:
            found.setdefault(self.of(record), []).append(record)
        return found


class AtHome(FlatMapFunction):  # type: ignore[misc]  # PyFlink has no types
    """Splits each batch of lines by home partition; a file's order stays in each."""

    def __init__(self, options: JobOptions, keys: Sequence[int]) -> None:
        self._options = options
        self._keys = keys

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the settings."""
        log_through_flink()
        self._homes = Homes(self._options.settings().config.streams, len(self._keys))

    def flat_map(self, value: Any) -> Iterator[Row]:
        """Yield rows of a lane's key and `(file, partition, batch)`."""
        _, (file, partition, batch) = value
        for home, records in self._homes.split(read(file, partition, batch)).items():
            yield Row(self._keys[home], Row(file, home, batch_of(records)))
