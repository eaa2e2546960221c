"""What the engines are compared on: real logs, requests and readings, and what publishers do wrong."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from infra.runtime.kafka.partitioner import partition_of
from schemas.raw import structured
from schemas.record import Kind
from tests.parity.datasets import lines, readings, requests

PARTITIONS = 2

CONFIG = """
topic_prefix = "{prefix}"
[streams.requests]
kind = "api"
dedupe = { content = true, near = 0.9, near_action = "flag" }
[streams.host]
kind = "sensor"
[streams.plant]
kind = "sensor"
clean = { window = 3, outliers = "clip", missing = "mean", ranges = { level = [-100.0, 100000.0] } }
[streams.logs]
kind = "log"
clean = { utf8 = "repair" }
"""


class Published(NamedTuple):
    """A record as it is published."""

    partition: int
    timestamp: int
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def records(now: datetime, seed: int = 11, *, whole: bool = False) -> list[Published]:
    """Return everything that is published, the same for every engine; copies come up to 400 places later.

    Of each data set it is the beginning, or the whole. Nearly all are keyed by their source; log lines of the
    sources `stray/…` are spread over the partitions.
    """
    rng = random.Random(seed)
    start = (now - timedelta(minutes=20)).replace(microsecond=0)
    events = [
        *readings(rng, start, whole=whole),
        *requests(start, whole=whole),
        *lines(start, whole=whole),
    ]
    rng.shuffle(events)  # sources interleave as they do on a broker
    published = []
    for number, event in enumerate(events):
        record = _record(event, start, number)
        published.append(record)
        if rng.random() < 0.08:
            published.insert(max(0, len(published) - rng.randrange(1, 400)), record)
    for number, record in enumerate(_broken(start)):
        published.insert((number * 173) % len(published), record)
    return published


def _record(event: dict[str, Any], start: datetime, number: int) -> Published:
    key = str(event["source"]).encode()
    stray = key.startswith(b"stray")
    at = number % PARTITIONS if stray else partition_of(key, PARTITIONS)
    stamp = int(start.timestamp() * 1000) + number
    return Published(at, stamp, key, json.dumps(event, ensure_ascii=False).encode())


def _broken(start: datetime) -> Iterator[Published]:
    stamp = int(start.timestamp() * 1000)
    sensor = structured("x", "machine/0", Kind.SENSOR, {"values": {"a": 1}}, stream="host")
    far = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    values: list[bytes | None] = [
        None,
        b"",
        b"not json",
        b'{"specversion": "1.0", "id": "\xff"}',
        b'{"hello": 1}',
        json.dumps(sensor | {"time": "yesterday", "id": "bt"}).encode(),
        json.dumps(sensor | {"time": far, "id": "future"}).encode(),
        json.dumps(sensor | {"data": {"values": {}}, "id": "empty"}).encode(),
        json.dumps(sensor | {"data": {"values": {"a": None}}, "id": "gap"}).encode(),
        b"x" * 300_000,
    ]
    for number, value in enumerate(values):
        yield Published(number % PARTITIONS, stamp, b"machine/0", value, (("trace", b"%d" % number),))
