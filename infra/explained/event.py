"""The event that was answered: consumes `SOURCE/ID`, reads it and its newest label from ClickHouse."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse
from schemas.errors import Fatal

_EVENT: Final = """
SELECT source, id, text, values FROM events
WHERE stream = {{stream:String}} AND ({anyone})
ORDER BY time DESC LIMIT 1"""
_LABEL: Final = """
SELECT argMax(label, tuple(labelled_at, _offset)) AS label FROM labels
WHERE stream = {stream:String} AND source = {source:String} AND id = {id:String}"""


@dataclass(frozen=True)
class Found:
    """What a model reads of an event, and what was true of it, empty where nobody said so."""

    text: str
    values: dict[str, float] = field(default_factory=dict)
    label: str = ""


def find(settings: Settings, stream: str, event: str) -> Found:
    """Return an event of a stream; both its source and its id may have slashes in them.

    Raises:
        Fatal: there is no such event.
        Retryable: ClickHouse does not answer.
    """
    return asyncio.run(_find(settings, stream, event))


async def _find(settings: Settings, stream: str, event: str) -> Found:
    splits = [(event[:at], event[at + 1 :]) for at, sign in enumerate(event) if sign == "/"]
    names = {
        f"{kind}{n}": part for n, pair in enumerate(splits) for kind, part in zip("si", pair, strict=True)
    }
    anyone = " OR ".join(f"(source = {{s{n}:String}} AND id = {{i{n}:String}})" for n in range(len(splits)))
    if not splits:
        raise Fatal(f"{event!r} is no event: give SOURCE/ID, as `headrace query` shows both of table events")
    warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    try:
        rows = await warehouse.query(_EVENT.format(anyone=anyone), {"stream": stream, **names})
        if not rows:
            raise Fatal(f"stream {stream!r} has no event {event!r} in ClickHouse")
        key = {name: rows[0][name] for name in ("source", "id")}
        labels = await warehouse.query(_LABEL, {"stream": stream, **key})
    finally:
        await warehouse.close()
    values = {str(name): float(value) for name, value in dict(rows[0]["values"]).items()}
    return Found(str(rows[0]["text"]), values, str(labels[0]["label"]) if labels else "")
