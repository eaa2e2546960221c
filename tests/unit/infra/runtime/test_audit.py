"""The audit: which requests are in it, what a record says, and that an outage leaves no gap."""

import json
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from structlog.testing import capture_logs

from infra.bench.gateway.inside import STREAMS, Memory, ask, gateway_over
from infra.runtime.audit import FILE, Trail
from infra.runtime.clock import ManualClock
from schemas import codec
from schemas.audit import Audit
from schemas.errors import Retryable
from schemas.raw import structured
from schemas.record import Coordinates, Kind, Outgoing
from serving.gateway import keys
from serving.gateway.app import application
from serving.gateway.identity import Identity
from serving.gateway.scopes import Scope

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
EVENT = json.dumps(structured("1", "shop", Kind.API, {"method": "GET", "path": "/"})).encode()
MEDIA = (b"content-type", b"application/cloudevents+json")


class Away(Memory):
    """A broker that does not answer."""

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        raise Retryable("away")


def audits(memory: Memory) -> list[Audit]:
    """Return the audit records that were sent."""
    return [codec.decode(record.value, Audit) for record in memory.records if record.topic == "audit"]


async def test_changes_and_refusals_are_recorded_and_reads_are_not(tmp_path: Path):
    """Who, what, when, outcome, the request's id and a masked address; nothing of the event itself."""
    id, secret = keys.fresh()
    scopes = (Scope.PUBLISH, Scope.READ)
    key = keys.Key(id=id, name="shop", sha256="", scopes=scopes, created_at=NOW, created_by="x")
    bearer = (b"authorization", b"Bearer " + keys.create(tmp_path, key, secret).encode())
    memory = Memory()
    config = f'{STREAMS}\n[gateway]\nauth = "required"'
    async with gateway_over(memory, tmp_path, config, clock=ManualClock(NOW)) as gateway:
        app = application(gateway)
        await ask(app, "POST", "/v1/events", [MEDIA, bearer, (b"x-request-id", b"r-1")], [EVENT])
        await ask(app, "GET", "/metrics", [bearer])
        await ask(app, "GET", "/livez")
        await ask(
            app, "POST", "/v1/events", [MEDIA, bearer, (b"x-request-id", b"r-2")], [b'{"id": "maria@x.org"']
        )
        await ask(app, "BREW", "/v1/secret/maria@x.org", [(b"x-request-id", b"r-3")])
    done, unread, unknown = audits(memory)
    assert done == Audit(
        at=NOW,
        who=f"key/{id}",
        action="POST /v1/events",
        outcome="done",
        status=202,
        request_id="r-1",
        address="203.0.113.0/24",
    )
    assert (unread.outcome, unread.status, unread.detail) == ("refused", 400, "malformed_json")
    assert (unknown.who, unknown.action, unknown.status) == ("unknown", "other other", 401)
    assert not any(b"maria" in record.value for record in memory.records if record.topic == "audit")


async def test_a_flood_of_refusals_is_few_records(tmp_path: Path):
    """Alike refusals between two sendings are one record with their number, under the first one's id."""
    memory = Memory()
    trail = Trail(memory, tmp_path, ManualClock(NOW))
    for number in range(1000):
        trail.refused("unknown", "POST /v1/events", status=401, request_id=str(number), address="10.0.0.0/24")
        trail.done("key/a", "POST /v1/events", status=202, request_id=str(number))
    await trail.flush()
    refused = [record for record in audits(memory) if record.outcome == "refused"]
    assert [(record.count, record.request_id) for record in refused] == [(1000, "0")]
    assert len(audits(memory)) == 1001
    assert [record.key for record in memory.records[:1]] == [b"key/a"]


async def test_what_kafka_does_not_take_is_in_the_file(tmp_path: Path):
    """While Kafka is away the records are appended to a file that only its owner reads."""
    trail = Trail(Away(), tmp_path, ManualClock(NOW))
    for number in range(2):
        trail.done("key/a", "POST /v1/labels", status=202, request_id=str(number))
        await trail.flush()
    path = tmp_path / FILE.format(worker="gateway")
    kept = [msgspec.json.decode(line, type=Audit) for line in path.read_bytes().splitlines()]
    assert [record.request_id for record in kept] == ["0", "1"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_full_disk_is_said_and_ends_nothing(tmp_path: Path):
    """Where the file cannot be written either, the log says how many are lost, and sending goes on."""
    (tmp_path / FILE.format(worker="gateway")).mkdir()
    trail = Trail(Away(), tmp_path, ManualClock(NOW))
    trail.done("key/a", "POST /v1/labels", status=202, request_id="1")
    with capture_logs() as logs:
        await trail.flush()
    assert [(entry["event"], entry["records"]) for entry in logs] == [("audit.lost", 1)]


def test_an_address_as_subject_is_masked():
    """Of an e-mail address log and audit keep what tells people apart, not who they are."""
    maria, martin = Identity("jwt", "maria@example.org"), Identity("jwt", "martin@example.org")
    assert maria.audited.startswith("jwt/m…@example.org#")
    assert maria.audited != martin.audited
    assert Identity("jwt", "shop").audited == "jwt/shop"
