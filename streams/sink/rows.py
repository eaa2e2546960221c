"""Turns the records of one partition into rows for ClickHouse; the JSON itself is passed through as bytes.

`_topic`, `_partition`, `_offset` and `_arrived` are spliced in at the head of each object. `_arrived` is
the day on which the batch's first record was written to Kafka: it is what tables are partitioned by, and
two writers that start from the same offset agree on it.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

from schemas import topics
from schemas.codec import decode
from schemas.errors import Reason, Rejected
from schemas.record import Incoming
from schemas.topics import Topic

TABLES: Final[dict[str, str]] = {
    topics.CLEAN.name: "events",
    topics.PREDICTIONS.name: "predictions",
    topics.SHADOW.name: "shadows",
    topics.LABELS.name: "labels",
    topics.ALERTS.name: "alerts",
    topics.RELEASES.name: "releases",
    topics.SWAPS.name: "swaps",
    topics.LOOP.name: "loop",
    topics.DEAD.name: "dead",
    topics.CONTROL.name: "control",
    topics.AUDIT.name: "audit",
}
"""The table of each topic."""

TOPICS: Final = tuple(topic for topic in topics.TOPICS if topic.name in TABLES)

_LAST_DAY_MS: Final = 5_662_310_400_000  # ClickHouse's Date ends in 2149


def validate(record: Incoming, topic: Topic) -> None:
    """Check one record against its topic's contract.

    Raises:
        Rejected: it does not fit, with the field.
    """
    if topic.contract is None:
        raise Rejected(Reason.UNKNOWN_KIND, f"topic {topic.name} has no contract")
    decode(record.value or b"", topic.contract)


def encode_rows(records: Sequence[Incoming]) -> bytes:
    """Return the rows of one insert, newline-separated. The records are JSON objects of one partition."""
    first = records[0]
    head = (
        f'{{"_topic":"{first.topic}","_partition":{first.partition},'
        f'"_arrived":"{arrival_day(first.timestamp).isoformat()}","_offset":'
    ).encode()
    rows = [b"%b%d,%b" % (head, record.offset, (record.value or b"").lstrip()[1:]) for record in records]
    return b"\n".join(rows)


def arrival_day(timestamp_ms: int) -> date:
    """Return the UTC day of a Kafka timestamp, within what ClickHouse's Date can hold."""
    return datetime.fromtimestamp(min(max(timestamp_ms, 0), _LAST_DAY_MS) / 1000, UTC).date()
