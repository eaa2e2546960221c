"""`headrace models explain --event` with a real ClickHouse: an event of the past, its label, its reasons."""

import asyncio
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from infra.cli import models
from infra.clickhouse.migrate import migrate
from infra.runtime.settings import Endpoints, Settings, load
from infra.runtime.warehouse import Warehouse
from schemas.config import Stream
from schemas.errors import Fatal
from tests.installation import environment_of
from tests.unit.trainers import samples
from trainers.bootstrap import train_first

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

CONFIG = """
topic_prefix = "{unique}."
database = "{unique}"
[streams.host]
kind = "sensor"
[streams.host.model]
"""


async def store(settings: Settings, source: str) -> None:
    """Put one event with a reading that the model does not know, and its labels, into ClickHouse."""
    (event, _), place = samples.readings(9, 1)[0], {"_topic": "t", "_partition": 0, "_offset": 0}
    row = {"stream": "host", "kind": "sensor", "source": source, "id": "a/1", "time": event.time.isoformat()}
    labels = [
        {"stream": "host", "source": source, "id": "a/1", "label": label, "labelled_at": at, **place}
        for label, at in (("busy", "2026-03-01T00:00:00Z"), ("idle", "2026-03-02T00:00:00Z"))
    ]
    warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    await migrate(warehouse)
    values = {**event.values, "humidity": 40.0}
    await warehouse.insert_json("events", json.dumps({**row, "values": values, **place}).encode())
    await warehouse.insert_json("labels", "\n".join(map(json.dumps, labels)).encode())
    await warehouse.close()


def test_an_event_is_looked_up_and_explained(
    stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Source and id may have slashes; the newest label is told; one that is not there is named."""
    for name, value in environment_of(stack, tmp_path, CONFIG.format(unique=unique)).items():
        monkeypatch.setenv(name, value)
    settings = load()
    train_first(
        settings, "host", Stream.model_validate({"kind": "sensor", "model": {}}), samples.readings(1, 300)
    )
    asyncio.run(store(settings, "rack/7"))
    app = typer.Typer()
    models.register(app)

    def run(event: str):
        command = ["models", "explain", "host", "1", "--event", event, "--json"]
        return CliRunner().invoke(app, command)

    told = json.loads(run("rack/7/a/1").stdout)
    assert (told["event"], told["true_label"]) == ("rack/7/a/1", "idle")
    assert told["answer"] in {"busy", "idle"} and len(told["reasons"]) == 4
    assert told["reasons"][0]["value"] == pytest.approx(samples.readings(9, 1)[0][0].values["cpu"], rel=1e-5)
    for event, says in (("rack/7/b", "has no event 'rack/7/b'"), ("rack", "give SOURCE/ID")):
        failed = run(event).exception
        assert isinstance(failed, Fatal) and says in str(failed)
