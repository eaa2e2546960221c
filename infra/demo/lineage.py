"""One prediction's ancestry: consumes an answer, produces each step from the request to the alert."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from infra.demo.figures import Answer, Figures
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse
from schemas.drift import DriftAlert
from schemas.record import Coordinates, Identity
from schemas.release import Release


@dataclass(frozen=True)
class Step:
    """One station: what it is called, and its facts in reading order."""

    title: str
    facts: tuple[tuple[str, str], ...]


def example(figures: Figures) -> tuple[Identity, Answer] | None:
    """Return an event worth tracing: answered rightly by a new model, an attack where there is one."""
    learnt = figures.learnt_versions
    best: tuple[Identity, Answer] | None = None
    for identity, answer in figures.answers.items():
        sent = figures.ledger.events.get(identity)
        if sent is None or answer.prediction.label != sent.label:
            continue
        if best is None or _interest(answer, learnt) > _interest(best[1], learnt):
            best = (identity, answer)
    return best


def _interest(answer: Answer, learnt: set[int]) -> tuple[bool, bool]:
    prediction = answer.prediction
    return prediction.version in learnt, prediction.label in ("xss", "cmdi", "path-traversal")


async def trace(
    settings: Settings,
    warehouse: Warehouse,
    found: tuple[Identity, Answer],
    releases: Iterable[Release],
    alerts: Iterable[DriftAlert],
) -> list[Step]:
    """Follow a prediction back; every step is read from where it lies, not remembered."""
    identity, answer = found
    prediction = answer.prediction
    original = await fetch(settings, prediction.raw)
    rows = await warehouse.query(
        "SELECT text FROM events "
        "WHERE stream = {stream:String} AND source = {source:String} AND id = {id:String}",
        {"stream": prediction.stream, "source": identity.source, "id": identity.id},
    )
    release = next(
        (r for r in releases if (r.model, r.version) == (prediction.model, prediction.version)), None
    )
    alert = next((a for a in alerts if release and a.id == release.alert), None)
    return [
        _request_step(identity, original),
        Step("as published", (("lies at", _place(prediction.raw)), ("bytes", str(len(original or b""))))),
        Step(
            "cleaned",
            (
                ("lies at", _place(prediction.event)),
                ("what the model reads", rows[0]["text"] if rows else "–"),
            ),
        ),
        Step(
            "answered",
            (
                ("answer", f"{prediction.label}, score {prediction.score:.3f}"),
                ("model", f"{prediction.model} v{prediction.version}"),
                ("sha256", prediction.sha256),
                (
                    "lies at",
                    f"{settings.config.topic_prefix}predictions[{answer.partition}] @ {answer.offset}",
                ),
            ),
        ),
        *_release_steps(release),
        *_alert_steps(alert),
    ]


async def fetch(settings: Settings, place: Coordinates) -> bytes | None:
    """Read the one record that lies at `place`."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.endpoints.kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    async with connected(consumer):
        partition = TopicPartition(place.topic, place.partition)
        consumer.assign([partition])
        consumer.seek(partition, place.offset)
        fetched = await consumer.getmany(partition, timeout_ms=5000, max_records=1)
        records = fetched.get(partition, [])
        return records[0].value if records and records[0].offset == place.offset else None


def _request_step(identity: Identity, original: bytes | None) -> Step:
    facts = [("source", identity.source), ("id", identity.id)]
    event: Any = msgspec.json.decode(original) if original else {}
    facts.append(("time", str(event.get("time", "–"))))
    data = event.get("data", {})
    if isinstance(data, dict) and "path" in data:
        query = f"?{data['query']}" if data.get("query") else ""
        body = f" {data['body']}" if data.get("body") else ""
        facts.append(("request", unquote_plus(f"{data['method']} {data['path']}{query}{body}")))
    else:
        facts.append(("payload", msgspec.json.encode(data).decode()[:400]))
    return Step("request", tuple(facts))


def _release_steps(release: Release | None) -> list[Step]:
    if release is None:
        return []
    facts = [("released", release.created_at.isoformat(timespec="seconds")), ("folder", release.uri)]
    facts.append(("parent", f"v{release.parent}" if release.parent is not None else "none: the first"))
    steps = [Step(f"release v{release.version}", tuple(facts))]
    rows = release.training
    if rows is not None:
        span = f"{rows.event_from:%H:%M:%S} to {rows.event_to:%H:%M:%S} UTC"
        offsets = ", ".join(f"{place} {first}…{last}" for place, (first, last) in rows.offsets.items())
        steps.append(
            Step(
                "learnt from",
                (
                    ("rows", f"{rows.rows}, and {rows.replayed_rows} replayed"),
                    ("event times", span),
                    ("offsets", offsets or "–"),
                    ("data set sha256", rows.dataset_sha256 or "–"),
                ),
            )
        )
    return steps


def _alert_steps(alert: DriftAlert | None) -> list[Step]:
    if alert is None:
        return []
    facts = (
        ("id", alert.id),
        ("says", alert.summary),
        (
            "found by",
            f"{alert.detector} on {alert.signal.value}: {alert.statistic:.3g} of {alert.threshold:.3g}",
        ),
        ("raised", alert.raised_at.isoformat(timespec="seconds")),
    )
    return [Step("the alert that asked for it", facts)]


def _place(place: Coordinates) -> str:
    return f"{place.topic}[{place.partition}] @ {place.offset}"
