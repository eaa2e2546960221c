"""The event streams of the real data, as publishers would send them: every data set, a part of it or all."""

import csv
import json
import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from schemas.raw import structured
from schemas.record import Kind
from tests.data import data_folder

Event = dict[str, Any]
T = TypeVar("T")
_LOGS = (
    "loghub/Apache_2k.log",
    "loghub/HDFS_2k.log",
    "loghub/OpenSSH_2k.log",
    "elastic_auth_log/auth.log",
    "elastic_http_logs/apache_logs",
)


def readings(rng: random.Random, start: datetime, *, whole: bool) -> Iterator[Event]:
    """Yield sensor readings: NAB's metrics, the gas sensors, Tornado's two streams, electricity.

    Some of NAB's values are missing, odd or far away; some of the electricity's come two hours late.
    """
    files = sorted((data_folder() / "nab" / "data").rglob("*.csv"))
    for at, path in enumerate(files[: len(files) if whole else 4]):
        for number, row in enumerate(_part(_table(path), 400, whole=whole)):
            values: Event = {"load": float(row["value"]), "free": rng.gauss(50, 2)}
            if rng.random() < 0.03:
                values[rng.choice(("load", "free"))] = rng.choice((None, "n/a", "12.5", "7 %", 1e9))
            yield _reading(f"{number}", f"machine/{at}", values, start, number, "host")
    for batch in (1, 2, 4):
        path = data_folder() / "gas_sensor_drift" / f"batch{batch}.dat"
        for number, line in enumerate(_part(_lines(path), 100, whole=whole)):
            gas, concentration, *features = line.split(",")
            values = {"concentration": float(concentration)}
            values |= {f"f{at}": float(feature) for at, feature in enumerate(features, start=1)}
            yield _reading(f"{batch}-{number}", f"gas/{gas}", values, start, number, "plant")
    for path in sorted((data_folder() / "tornado").glob("*.arff")):
        rows = (line for line in _lines(path) if line and not line.startswith("@"))
        for number, line in enumerate(_part(rows, 150, whole=whole)):
            values = {f"x{at}": cell for at, cell in enumerate(_numbers(line.split(",")))}
            yield _reading(f"{number}", f"tornado/{path.stem}", values, start, number // 10, "host")
    table = _table(data_folder() / "electricity" / "electricity.csv")
    for number, row in enumerate(_part(table, 300, whole=whole)):
        numbers = _numbers(list(row.values())[1:5])
        values = {"level": numbers[0] * (1e7 if rng.random() < 0.02 else 100), "other": numbers[-1]}
        late = start - timedelta(hours=2 * (number % 9 == 0))
        yield _reading(f"e{number}", f"grid/{number % 3}", values, late, 0, "plant")


def requests(start: datetime, *, whole: bool) -> Iterator[Event]:
    """Yield requests: HTTP payloads, some sent again or nearly so under another id, and spoken wishes."""
    table = _table(data_folder() / "http_params" / "payload_train.csv")
    for number, row in enumerate(_part(table, 500, whole=whole)):
        source = f"shop/{number % 4}"
        data = _request(f"/find/{number % 5}", str(row["payload"])[:300], number)
        yield _event(f"r{number}", source, Kind.API, data, start, number)
        if number % 25 == 0:  # the same content under another id
            yield _event(f"again{number}", source, Kind.API, data, start, number)
        if number % 40 == 0:  # nearly the same text
            nearly = data | {"query": "the quick brown fox jumps over the lazy dog, " * 4 + str(number)}
            yield _event(f"nearly{number}", "shop/1", Kind.API, nearly, start, number)
    spoken = json.loads((data_folder() / "clinc150" / "five_domains.json").read_text(encoding="utf-8"))
    texts = [entry[0] for split in ("train", "val", "test") for entry in spoken[split]]
    for number, text in enumerate(_part(iter(texts), 200, whole=whole)):
        data = _request("/wish", text, number)
        yield _event(f"c{number}", f"assistant/{number % 2}", Kind.API, data, start, number)


def lines(start: datetime, *, whole: bool) -> Iterator[Event]:
    """Yield log lines of every log; a quarter of them of sources that are spread over all partitions."""
    for name in _LOGS:
        yield from _logged(Path(name).name, _part(_lines(data_folder() / name), 300, whole=whole), start)
    table = _table(data_folder() / "loghub" / "BGL_first_1000_structured.csv")
    yield from _logged("BGL", (row["Content"] for row in _part(table, 150, whole=whole)), start)


def _logged(name: str, messages: Iterator[str], start: datetime) -> Iterator[Event]:
    for number, message in enumerate(messages):
        source = f"stray/{number % 5}" if number % 4 == 0 else f"log/{name}"
        data = {"message": message, "level": "info"}
        event = structured(f"{name}-{number}", source, Kind.LOG, data)
        yield event | ({} if number % 50 == 7 else {"time": start.isoformat()})


def _request(path: str, query: str, number: int) -> Event:
    data = {"method": "GET", "path": path, "query": query, "client_ip": f"10.0.0.{number % 250}"}
    return data | {"status": 200, "duration_ms": number / 7}


def _reading(name: str, source: str, values: Event, start: datetime, number: int, stream: str) -> Event:
    time = start + timedelta(milliseconds=number * 10)
    return structured(name, source, Kind.SENSOR, {"values": values}, time=time.isoformat(), stream=stream)


def _event(name: str, source: str, kind: Kind, data: Event, start: datetime, number: int) -> Event:
    return structured(name, source, kind, data, time=(start + timedelta(milliseconds=number)).isoformat())


def _part(rows: Iterator[T], few: int, *, whole: bool) -> Iterator[T]:
    return rows if whole else islice(rows, few)


def _lines(path: Path) -> Iterator[str]:
    yield from path.read_text(encoding="utf-8", errors="replace").splitlines()


def _table(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _numbers(cells: Sequence[str]) -> list[float]:
    found = []
    for cell in cells:
        try:
            found.append(float(cell))
        except ValueError:
            continue
    return found
