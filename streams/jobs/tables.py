"""The job's ends in Kafka, as Flink SQL: records with their coordinates in, records of many topics out.

SQL, because its connector carries keys, headers and the topic of a record, which PyFlink's does not.
"""

from collections.abc import Mapping, Sequence
from typing import Final

_SOURCE: Final = """
CREATE TEMPORARY TABLE incoming (
  `topic` STRING METADATA VIRTUAL,
  `partition` INT METADATA VIRTUAL,
  `offset` BIGINT METADATA VIRTUAL,
  `stamped` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `headers` MAP<STRING, BYTES> METADATA VIRTUAL,
  `key` BYTES,
  `value` BYTES
) WITH ({options})
"""

_SINK: Final = """
CREATE TEMPORARY TABLE outgoing (
  {topic}
  `headers` MAP<STRING, BYTES> METADATA,
  `key` BYTES,
  `value` BYTES
) WITH ({options})
"""

PACKED: Final = """
SELECT `partition`, `run` FROM (
  SELECT `partition`, pack(
    `topic`, `partition`, `offset`, CAST(`stamped` AS TIMESTAMP(3)), `key`, `value`,
    MAP_KEYS(`headers`), MAP_VALUES(`headers`)
  ) AS `run`
  FROM incoming
) WHERE `run` IS NOT NULL
"""
"""Packs the records; maps do not reach Python's Arrow batches, so a record's headers go as two arrays."""

_UNPACKED: Final = """
INSERT INTO outgoing
SELECT {topic} `headers`, `key`, `value` FROM written
CROSS JOIN UNNEST(`records`) AS record (`key`, `value`, `headers`)
"""

_BYTES: Final = {
    "connector": "kafka",
    "key.format": "raw",
    "key.fields": "key",
    "value.format": "raw",
    "value.fields-include": "EXCEPT_KEY",
}


def source(bootstrap: str, topics: Sequence[str], group: str, scan: Mapping[str, str]) -> str:
    """Return the statement of the table `incoming`; `scan` says where in the topics it begins and ends."""
    options = {
        **_BYTES,
        "topic": ";".join(topics),
        "properties.bootstrap.servers": bootstrap,
        "properties.group.id": group,
        "properties.isolation.level": "read_committed",
        "properties.auto.offset.reset": "earliest",
        "properties.max.poll.records": "5000",
        "properties.fetch.min.bytes": "65536",
        "properties.fetch.max.wait.ms": "50",
        **scan,
    }
    return _SOURCE.format(options=_options(options))


def sink(bootstrap: str, topics: Sequence[str], transactional_prefix: str) -> str:
    """Return the statement of the table `outgoing`, whose records are committed with the checkpoints."""
    options = {
        **_BYTES,
        "topic": ";".join(topics),
        "properties.bootstrap.servers": bootstrap,
        "properties.transaction.timeout.ms": "600000",  # brokers allow 15 minutes, not Flink's hour
        "properties.linger.ms": "20",
        "properties.batch.size": "262144",
        "properties.max.request.size": "2097152",
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": transactional_prefix,
    }
    topic = "`topic` STRING METADATA," if len(topics) > 1 else ""
    return _SINK.format(options=_options(options), topic=topic)


def unpacked(topics: Sequence[str]) -> str:
    """Return the statement that writes what the view `written` has; of one topic records do not name it."""
    return _UNPACKED.format(topic="`topic`," if len(topics) > 1 else "")


def _options(options: Mapping[str, str]) -> str:
    quoted = {name: value.replace("'", "''") for name, value in options.items()}
    return ", ".join(f"'{name}' = '{value}'" for name, value in quoted.items())
