"""One true-to-life record of every contract: shown in the catalog and checked against it in the tests.

They tell one story: a request is answered, labelled, part of a drift, learnt from and released.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from schemas.audit import Audit
from schemas.clean import Clean, Flags
from schemas.control import Action, Control, Scope
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert, Response, Severity, Signal
from schemas.errors import Reason
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind
from schemas.release import Manifest, Release, State, Swap, Task, TrainingRange, Transition
from schemas.rollout import Rollout, RolloutStage
from schemas.shadow import Shadow

_AT: Final = datetime(2026, 3, 14, 9, 26, 53, 589000, tzinfo=UTC)
_SHA: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_FILE_SHA: Final = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
_SOURCE: Final = "shop/checkout"
_ID: Final = "7c1f0d3e-5b7a-4a52-8d2e-3f6f1f0b9a41"
_RAW: Final = Coordinates("events.raw", 1, 4711)
_TRAINING: Final = TrainingRange(
    rows=1240,
    event_from=_AT - timedelta(minutes=40),
    event_to=_AT + timedelta(seconds=50),
    offsets={"events.clean:0": (120, 5903), "events.clean:1": (98, 6011)},
    replayed_rows=620,
    dataset_sha256=_FILE_SHA,
)

PAYLOADS: Final[dict[str, dict[str, Any]]] = {
    "headrace.sensor.reading.v1": {"sensor": "temp", "value": 64.4, "unit": "degF"},
    "headrace.sensor.reading.v2": {
        "values": {"cpu": 37.5, "temp": 64.4, "fan": None},
        "units": {"temp": "degF"},
    },
    "headrace.api.request.v1": {"url": "https://shop.example/products?q=1", "method": "GET", "status": 200},
    "headrace.api.request.v2": {
        "method": "GET",
        "path": "/products",
        "query": "q=1%27%20OR%20%271%27=%271",
        "status": 200,
        "duration_ms": 12.5,
        "client_ip": "203.0.113.9",
        "user_agent": "Mozilla/5.0",
    },
    "headrace.log.line.v1": {"line": "payment 4711 accepted", "level": "INFO"},
    "headrace.log.line.v2": {
        "message": "payment 4711 accepted",
        "level": "INFO",
        "logger": "pay",
        "host": "web-3",
    },
}
"""The `data` of an event, by the event's CloudEvents `type`."""

CONTRACTS: Final[dict[type[msgspec.Struct], msgspec.Struct]] = {
    Clean: Clean(
        stream="requests",
        kind=Kind.API,
        source=_SOURCE,
        id=_ID,
        time=_AT,
        raw=_RAW,
        text="GET /products?q=<num>' OR '<num>'='<num>",
        values={"duration_ms": 12.5},
        attributes={"method": "GET", "client_ip": "<ip>"},
        flags=Flags(masked=("client_ip",)),
    ),
    Copies: Copies(stream="requests", partition=1, accepted=940, dropped=60, at=_AT),
    Dead: Dead(
        reason=Reason.MISSING_FIELD,
        message="an API request needs `path`",
        field="data.path",
        stage="clean",
        raw=Coordinates("events.raw", 1, 4712),
        rejected_at=_AT,
        source=_SOURCE,
        id="7c1f0d3e-5b7a-4a52-8d2e-3f6f1f0b9a42",
        key=_SOURCE.encode(),
        original=b'{"specversion":"1.0","data":{"method":"GET"}}',
        headers=(("content-type", b"application/cloudevents+json"),),
    ),
    Label: Label(
        stream="requests",
        source=_SOURCE,
        id=_ID,
        label="sqli",
        labelled_at=_AT + timedelta(seconds=20),
        by="waf-team",
    ),
    Prediction: Prediction(
        stream="requests",
        source=_SOURCE,
        id=_ID,
        event=Coordinates("events.clean", 1, 4698),
        raw=_RAW,
        event_time=_AT,
        label="sqli",
        score=0.9931,
        model="requests",
        version=3,
        sha256=_SHA,
        predicted_at=_AT + timedelta(milliseconds=41),
        inference_ms=6.8,
    ),
    Shadow: Shadow(
        stream="requests",
        source=_SOURCE,
        id=_ID,
        event=Coordinates("events.clean", 1, 4698),
        event_time=_AT,
        model="requests",
        stage=RolloutStage.FULL,
        version=3,
        sha256=_FILE_SHA,
        label="normal",
        score=0.6127,
        inference_ms=7.1,
        served_version=4,
        served_sha256=_SHA,
        served_label="sqli",
        served_score=0.9931,
        served_ms=6.8,
        agreed=False,
        answered_at=_AT + timedelta(milliseconds=52),
    ),
    DriftAlert: DriftAlert(
        id="requests-error-000007",
        stream="requests",
        model="requests",
        version=3,
        signal=Signal.ERROR,
        detector="adwin",
        statistic=0.31,
        threshold=0.12,
        since=_AT + timedelta(seconds=60),
        window_from=_AT,
        window_to=_AT + timedelta(seconds=90),
        observations=420,
        severity=Severity.CRITICAL,
        response=Response.INCREMENT,
        summary="error rate rose from 0.02 to 0.33 in the last 420 labels",
        evidence={"labels": {"xss": 0.22, "traversal": 0.11}},
        raised_at=_AT + timedelta(seconds=92),
    ),
    Release: Release(
        model="requests",
        stream="requests",
        version=4,
        uri="file:///var/lib/headrace/releases/requests/4",
        sha256=_SHA,
        state=State.RELEASED,
        parent=3,
        alert="requests-error-000007",
        metrics={"accuracy_recent": 0.97, "accuracy_old": 0.985},
        training=_TRAINING,
        served_before=(1, 3),
        created_at=_AT + timedelta(seconds=120),
        rollout=Rollout(
            stage=RolloutStage.FULL,
            share=0.2,
            against=3,
            against_sha256=_FILE_SHA,
            since=_AT + timedelta(seconds=120),
            window_s=600.0,
        ),
    ),
    Manifest: Manifest(
        model="requests",
        version=4,
        stream="requests",
        task=Task.CLASSIFICATION,
        family="text",
        base="minilm",
        labels=("normal", "sqli", "xss"),
        max_tokens=64,
        variants={"fp32": "model.fp32.onnx", "int8": "model.int8.onnx"},
        serve="int8",
        metrics={"accuracy_recent": 0.97},
        parent=3,
        alert="requests-error-000007",
        training=_TRAINING,
        golden="golden.json",
        created_at=_AT + timedelta(seconds=119),
        files={"model.int8.onnx": _FILE_SHA, "tokenizer.json": _FILE_SHA, "golden.json": _FILE_SHA},
    ),
    Swap: Swap(
        model="requests",
        stream="requests",
        version=4,
        sha256=_SHA,
        worker="serving-1",
        first_offsets={"events.clean:0": 6120, "events.clean:1": 6233},
        swapped_at=_AT + timedelta(seconds=121),
        load_ms=84.0,
    ),
    Transition: Transition(
        stream="requests",
        model="requests",
        state="training",
        previous="collecting",
        alert="requests-error-000007",
        version=4,
        message="1240 labelled events, 620 of them replayed",
        at=_AT + timedelta(seconds=100),
    ),
    Control: Control(
        scope=Scope.STREAM,
        name="requests",
        action=Action.PAUSED,
        by="maria@ops-1",
        reason="the shop sends test traffic until noon",
        at=_AT + timedelta(seconds=180),
    ),
    Audit: Audit(
        at=_AT + timedelta(seconds=181),
        who="key/4f1d09c2a7be",
        action="POST /v1/events",
        outcome="refused",
        status=403,
        request_id="9d2b6d1e5f0c4a37",
        address="203.0.113.0/24",
        detail="this needs the scope 'publish'",
        count=3,
    ),
}
"""An instance of each contract, by its class."""


def envelope(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return a CloudEvent in structured mode around a payload."""
    return {
        "specversion": "1.0",
        "id": _ID,
        "source": _SOURCE,
        "type": event_type,
        "time": _AT.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "data": data,
    }
