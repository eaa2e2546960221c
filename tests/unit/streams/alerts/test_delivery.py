"""Delivery of alerts: said once, posted until taken, secrets kept, hostile text harmless."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from aiohttp import web
from pydantic import SecretStr

from infra.runtime.clock import ManualClock
from infra.runtime.control import Controls
from infra.runtime.settings import Endpoints, Settings, load_config
from schemas.codec import encode
from schemas.config import Email, Stream
from schemas.control import Action, Control, Scope
from schemas.drift import DriftAlert, Response, Severity, Signal
from schemas.topics import CONTROL
from streams.alerts.alertmanager import posted
from streams.alerts.delivery import Delivery
from streams.alerts.email import composed
from streams.alerts.message import message
from streams.alerts.page.folder import Pages
from streams.alerts.persistence import Outcome
from streams.alerts.reach import Orders, Reach
from streams.alerts.record import DeliveryRecord
from streams.alerts.webhook import Webhook
from streams.operators.carried import Original

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def alert(id: str = "a1", summary: str = "the error rate rose") -> DriftAlert:
    """Return an alert."""
    return DriftAlert(
        id=id,
        stream="requests",
        model="requests",
        version=1,
        signal=Signal.ERROR,
        detector="ensemble",
        statistic=0.4,
        threshold=0.1,
        since=NOW,
        window_from=NOW,
        window_to=NOW,
        observations=100,
        severity=Severity.CRITICAL,
        response=Response.INCREMENT,
        summary=summary,
        raised_at=NOW,
    )


class Receiver:
    """A webhook on a free port that answers with the given statuses, then 200."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.keys: list[str] = []
        self.bodies: list[Any] = []
        self.url = SecretStr("")

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/hook/secret-part", self._take)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = SecretStr(f"http://127.0.0.1:{self._runner.addresses[0][1]}/hook/secret-part")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers["Idempotency-Key"])
        self.bodies.append(await request.json())
        return web.Response(status=self._statuses.pop(0) if self._statuses else 200)


class NoOrders:
    """Nobody asked for anything."""

    def silenced(self, stream: str, signal: str, now: datetime) -> None:
        """Nothing is silent."""

    def acknowledged(self, alert: str) -> None:
        """Nobody knows of anything."""


def delivery(
    webhook: Webhook, folder: Path, now: datetime = NOW, orders: Orders | None = None, **drift: Any
) -> Delivery:
    """Return the delivery to a webhook of alerts of a stream that is configured so."""
    streams = {"requests": Stream.model_validate({"kind": "api", "drift": drift})}
    reach = Reach(streams, orders or NoOrders())
    return Delivery(webhook, DeliveryRecord(folder / "delivered"), reach, ManualClock(now))


async def test_an_alert_is_posted_once_over_restarts(tmp_path: Path) -> None:
    """The record on disk keeps a second delivery of the same alert from telling anyone again."""
    async with Receiver() as receiver:
        for _ in range(2):
            webhook = Webhook(receiver.url, 2.0)
            telling = delivery(webhook, tmp_path)
            telling.take(alert())
            telling.take(alert())
            await telling.work()
            await telling.work()
            await webhook.close()
        assert receiver.keys == ["a1"]


async def test_a_busy_webhook_is_asked_again(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """503 and 429 are tried again with the same key; the address is in no log line."""
    async with Receiver(503, 429) as receiver:
        webhook = Webhook(receiver.url, 2.0)
        assert await webhook.tell(alert(), give_up_after_s=30.0) is Outcome.TAKEN
        await webhook.close()
        assert receiver.keys == ["a1", "a1", "a1"]
    printed = capsys.readouterr()
    assert "webhook.failed" in caplog.text + printed.out + printed.err
    assert "secret-part" not in caplog.text + printed.out + printed.err


async def test_a_refusal_is_final() -> None:
    """404 is not tried again."""
    async with Receiver(404) as receiver:
        webhook = Webhook(receiver.url, 2.0)
        assert await webhook.tell(alert(), give_up_after_s=30.0) is Outcome.REFUSED
        await webhook.close()
        assert receiver.keys == ["a1"]


async def test_nobody_there_is_given_up_at_the_deadline(capsys: pytest.CaptureFixture[str]) -> None:
    """A webhook that nobody serves ends in EXPIRED, and its address is in no log line."""
    webhook = Webhook(SecretStr("http://127.0.0.1:1/secret-part"), 1.0)
    outcome = await asyncio.wait_for(webhook.tell(alert(), give_up_after_s=0.0), timeout=5.0)
    await webhook.close()
    assert outcome is Outcome.EXPIRED
    printed = capsys.readouterr()
    assert "secret-part" not in printed.out + printed.err


async def test_old_alerts_are_not_posted(tmp_path: Path) -> None:
    """An alert of yesterday is history, and posted to nobody."""
    async with Receiver() as receiver:
        webhook = Webhook(receiver.url, 2.0)
        telling = delivery(webhook, tmp_path, NOW + timedelta(hours=25))
        telling.take(alert())
        await telling.work()
        await webhook.close()
        assert receiver.keys == []


async def test_what_waits_is_told_when_the_silence_ends(tmp_path: Path) -> None:
    """A silenced alert waits, and is told once it may be; of one that is over meanwhile nothing is told."""
    orders = Controls(Settings(tmp_path, load_config({}), Endpoints("", "", "")))

    def order(action: Action, offset: int) -> None:
        until = NOW + timedelta(hours=1)
        given = Control(scope=Scope.ALERT, name="requests", action=action, by="a@b", at=NOW, until=until)
        orders.take(Original(CONTROL.name, 0, offset, 0, given.key().encode(), encode(given)))

    async with Receiver() as receiver:
        webhook = Webhook(receiver.url, 2.0)
        telling = delivery(webhook, tmp_path, orders=orders)
        order(Action.SILENCED, 0)
        telling.take(alert("a1"))
        telling.take(alert("a2"))
        await telling.work()
        over = msgspec.structs.replace(alert("a1-recovered"), recovered=True, evidence={"alert": "a1"})
        telling.take(over)
        await telling.work()
        assert receiver.keys == []
        order(Action.UNSILENCED, 1)
        await telling.work()
        assert receiver.keys == ["a2"]
        telling.take(msgspec.structs.replace(over, id="a2-recovered", evidence={"alert": "a2"}))
        await telling.work()
        await webhook.close()
        assert receiver.keys == ["a2", "a2-recovered"]


async def test_a_message_names_the_page_and_goes_without_one(tmp_path: Path) -> None:
    """The post says where the page is; where none could be written it goes all the same."""
    (tmp_path / "file").write_text("no folder")
    for folder, wanted in ((tmp_path / "pages", tmp_path / "pages" / "a1.html"), (tmp_path / "file", None)):
        pages = Pages(folder)
        async with Receiver() as receiver:
            webhook = Webhook(receiver.url, 2.0, pages.place)
            telling = delivery(webhook, tmp_path / f"of-{folder.name}")
            await pages.take(alert(), new=True)
            telling.take(alert())
            await telling.work()
            await webhook.close()
        (body,) = receiver.bodies
        named = {field["title"]: field["value"] for field in body["attachments"][0]["fields"]}
        assert named.get("Page") == body.get("page") == (str(wanted) if wanted else None)


def test_every_channel_names_the_page() -> None:
    """E-mail by a line, Alertmanager by an annotation and, where it has an address, as the alert's source."""
    mail = Email.model_validate({"host": "x.invalid", "sender": "a@x.invalid", "to": ["b@x.invalid"]})
    assert "Page:       /var/p/a1.html\n" in composed(alert(), mail, "/var/p/a1.html").get_content()
    assert "Page:" not in composed(alert(), mail).get_content()
    served = posted(alert(), NOW, "https://x.invalid/a1.html")
    assert served["annotations"]["page"] == served["generatorURL"] == "https://x.invalid/a1.html"
    assert "generatorURL" not in posted(alert(), NOW, "/var/p/a1.html")
    assert "page" not in posted(alert(), NOW)["annotations"]


def test_hostile_text_is_escaped_for_slack() -> None:
    """What an attacker wrote into an event becomes neither a link nor a mention, and the body is JSON."""
    body = message(alert(summary="worst: <!channel> & <http://x|y>"))
    assert "<" not in body["text"]
    assert "&lt;!channel&gt; &amp; " in body["text"]
    assert body["alert"]["summary"] == "worst: <!channel> & <http://x|y>"
    assert json.loads(json.dumps(body))["attachments"][0]["fields"]


def test_the_record_stays_small(tmp_path: Path) -> None:
    """Of many deliveries the newest 10,000 are kept at the next start."""
    path = tmp_path / "delivered"
    path.write_text("".join(f"webhook {n}\n" for n in range(10_050)))
    record = DeliveryRecord(path)
    assert not record.has("webhook", "49")
    assert record.has("webhook", "10049")
    assert len(path.read_text().splitlines()) == 10_000
