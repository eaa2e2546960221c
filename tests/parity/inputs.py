"""What the engines are compared on: real logs, requests and readings, and what publishers do wrong."""

import csv
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from infra.runtime.kafka.partitioner import partition_of
from schemas.raw import structured
from schemas.record import Kind
from tests.data import data_folder

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
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def records(now: datetime, seed: int = 11) -> list[Published]:
    """Return everything that is published, the same for every engine; copies come up to 400 places later.

    Nearly all are keyed by their source. Log lines of the sources `stray/…` are spread over the partitions.
    """
    rng = random.Random(seed)
    start = (now - timedelta(minutes=20)).replace(microsecond=0)
    events = [*_readings(rng, start), *_requests(start), *_lines(start)]
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


def _readings(rng: random.Random, start: datetime) -> Iterator[dict[str, Any]]:
    for at, path in enumerate(sorted((data_folder() / "nab" / "data").rglob("*.csv"))[:4]):
        for number, row in enumerate(islice(_rows(path), 500)):
            values: dict[str, Any] = {"load": float(row["value"]), "free": rng.gauss(50, 2)}
            if rng.random() < 0.03:
                values[rng.choice(("load", "free"))] = rng.choice((None, "n/a", "12.5", "7 %", 1e9))
            time = start + timedelta(milliseconds=number * 10)
            yield structured(
                f"{number}",
                f"machine/{at}",
                Kind.SENSOR,
                {"values": values},
                time=time.isoformat(),
                stream="host",
            )
    for number, row in enumerate(islice(_rows(data_folder() / "electricity" / "electricity.csv"), 400)):
        numbers = [float(cell) for cell in list(row.values())[1:5] if _is_number(cell)]
        values = {"level": numbers[0] * (1e7 if rng.random() < 0.02 else 100), "other": numbers[-1]}
        time = start - timedelta(hours=2 * (number % 9 == 0))  # some are late
        yield structured(
            f"e{number}",
            f"grid/{number % 3}",
            Kind.SENSOR,
            {"values": values},
            time=time.isoformat(),
            stream="plant",
        )


def _requests(start: datetime) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(islice(_rows(data_folder() / "http_params" / "payload_train.csv"), 600)):
        data: dict[str, Any] = {
            "method": "GET",
            "path": f"/find/{number % 5}",
            "query": str(row["payload"])[:300],
        }
        data |= {"client_ip": f"10.0.0.{number % 250}", "status": 200, "duration_ms": number / 7}
        time = start + timedelta(milliseconds=number)
        yield structured(f"r{number}", f"shop/{number % 4}", Kind.API, data, time=time.isoformat())
        if number % 25 == 0:  # the same content under another id
            yield structured(f"again{number}", f"shop/{number % 4}", Kind.API, data, time=time.isoformat())
        if number % 40 == 0:  # nearly the same text
            nearly = data | {"query": "the quick brown fox jumps over the lazy dog, " * 4 + str(number)}
            yield structured(f"nearly{number}", "shop/1", Kind.API, nearly, time=time.isoformat())


def _lines(start: datetime) -> Iterator[dict[str, Any]]:
    for name in ("Apache_2k.log", "HDFS_2k.log", "OpenSSH_2k.log"):
        text = (data_folder() / "loghub" / name).read_text(encoding="utf-8", errors="replace")
        for number, line in enumerate(text.splitlines()[:400]):
            source = f"stray/{number % 5}" if number % 4 == 0 else f"log/{name}"
            event = structured(f"{name}-{number}", source, Kind.LOG, {"message": line, "level": "info"})
            yield event | ({} if number % 50 == 7 else {"time": start.isoformat()})


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


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
