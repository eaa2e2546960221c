"""Seeded events to train on: request texts of four kinds and readings of a small machine."""

import random
from datetime import UTC, datetime, timedelta

import numpy as np

from schemas.clean import Clean
from schemas.record import Coordinates, Kind

START = datetime(2026, 3, 1, tzinfo=UTC)

_WORDS = (
    "lamp",
    "desk",
    "chair",
    "garden",
    "coffee",
    "winter",
    "shoes",
    "bicycle",
    "keyboard",
    "novel",
    "teapot",
)
_TABLES = ("users", "orders", "accounts", "sessions", "invoices")
_NORMAL = (
    "GET /search?q={w} {v}",
    "GET /items/<num>",
    "POST /cart item={w}&count=<num>",
    "GET /reviews?of={w}",
)
_SQLI = (
    "GET /search?q={w}' or '<num>'='<num>' --",
    "GET /items?id=<num> union select name, password from {t}--",
    "POST /login user={w}'; drop table {t}; --",
    "GET /reviews?of={w}') and sleep(<num>)#",
)
_XSS = (
    "GET /search?q=<script>alert({w})</script>",
    "POST /reviews text=<img src={w} onerror=alert(document.cookie)>",
    "GET /items?name=\"><svg onload=fetch('//{w}.example')>",
    "GET /profile?bio=<iframe src=javascript:alert('{w}')></iframe>",
)
_TEMPLATES = {"normal": _NORMAL, "sqli": _SQLI, "xss": _XSS}

Labelled = tuple[Clean, str]


def requests(seed: int, after_s: int = 0, **counts: int) -> list[Labelled]:
    """Return labelled request events, `counts` of each kind, mixed, a second apart."""
    chance = random.Random(seed)
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    chance.shuffle(kinds)
    return [(_request(chance, kind, seed, after_s + number), kind) for number, kind in enumerate(kinds)]


def _request(chance: random.Random, kind: str, seed: int, second: int) -> Clean:
    template = chance.choice(_TEMPLATES[kind])
    text = template.format(w=chance.choice(_WORDS), v=chance.choice(_WORDS), t=chance.choice(_TABLES))
    return Clean(
        stream="requests",
        kind=Kind.API,
        source="shop",
        id=f"{seed}-{second}",
        time=START + timedelta(seconds=second),
        raw=Coordinates("events.raw", second % 2, second),
        text=text,
    )


def readings(seed: int, count: int, *, shift: float = 0.0, after_s: int = 0) -> list[tuple[Clean, str]]:
    """Return readings of a machine in two states, told apart by their pattern; `shift` moves every sensor."""
    chance = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        busy = bool(chance.random() < 0.5)
        load = chance.normal(0.8 if busy else 0.2, 0.05) + shift
        values = {
            "cpu": float(load * 100),
            "memory_mb": float(4000 + 2000 * load + chance.normal(0, 50)),
            "temperature": float(40 + 25 * (load - 2 * shift) + chance.normal(0, 1)),
            "fan_rpm": float(1200 + (900 if busy else 0) * (1 - 2 * shift) + chance.normal(0, 30)),
        }
        event = Clean(
            stream="host",
            kind=Kind.SENSOR,
            source="machine",
            id=f"{seed}-{number}",
            time=START + timedelta(seconds=after_s + number),
            raw=Coordinates("events.raw", 0, after_s + number),
            values=values,
        )
        rows.append((event, "busy" if busy else "idle"))
    return rows


def heating(seed: int, count: int, *, wear: float = 0.0, after_s: int = 0) -> list[tuple[Clean, str]]:
    """Return readings of a machine, labelled with its later temperature, in °C with a deviation of 0.5.

    With `wear` a machine under full load gets that much hotter than the same readings meant before.
    """
    chance = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        load, fan = float(chance.uniform(0, 1)), float(chance.uniform(800, 2000))
        later = 30 + 40 * load - (fan - 800) / 100 + wear * load + chance.normal(0, 0.5)
        event = Clean(
            stream="host",
            kind=Kind.SENSOR,
            source=f"machine-{number % 3}",
            id=f"{seed}-{number}",
            time=START + timedelta(seconds=after_s + number),
            raw=Coordinates("events.raw", 0, after_s + number),
            values={"load": load, "fan_rpm": fan},
        )
        rows.append((event, f"{later:.3f}"))
    return rows
