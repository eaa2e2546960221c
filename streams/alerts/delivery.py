"""Delivery of alerts: consumes `alerts.drift` at its own pace, tells people on every channel that is set up.

Each channel has a queue and a task of its own, so one that is down delays no other, and nothing here delays
the stream. The topic is read from its beginning at every start; what went out is on record
(`<home>/drift/delivered`), so nobody is told twice, and what was written while nobody delivered is delivered.
An alert's page (`streams.alerts.page`) is written before anybody is told of it.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Final

from pydantic import SecretStr

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.control import Controls
from infra.runtime.hot import Hot
from infra.runtime.kafka.follow import follow
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.codec import decode
from schemas.drift import DriftAlert
from schemas.errors import Rejected
from schemas.topics import ALERTS
from streams.alerts.alertmanager import Alertmanager
from streams.alerts.channel import Channel, Place, nowhere
from streams.alerts.email import Email
from streams.alerts.page.folder import Pages
from streams.alerts.reach import WORTH_TELLING, Decision, Reach
from streams.alerts.record import DeliveryRecord
from streams.alerts.webhook import Webhook

_log = get_logger("headrace.alerts")
_LOG: Final = "log"
_LOOK_AGAIN_S: Final = 1.0
"""How often what is held back is looked at again."""


class Delivery:
    """Tells of alerts on one channel, each once; those that are held back wait, at most for a day."""

    def __init__(self, channel: Channel, record: DeliveryRecord, reach: Reach, clock: Clock) -> None:
        self._channel = channel
        self._record = record
        self._reach = reach
        self._clock = clock
        self._waiting: dict[str, DriftAlert] = {}

    def take(self, alert: DriftAlert) -> None:
        """Put an alert in line, unless it was told already."""
        if not self._record.has(self._channel.name, alert.id):
            self._waiting[alert.id] = alert
        elif isinstance(self._channel, Alertmanager):
            self._channel.remember(alert)

    async def work(self) -> None:
        """Tell what is to be told now; returns when the rest has to wait."""
        name = self._channel.name
        for alert in list(self._waiting.values()):
            now = self._clock.now()
            decision = self._reach.decide(name, alert, now, lambda id: self._record.has(name, id))
            if decision is Decision.HOLD:
                continue
            if decision is Decision.TELL:
                left_s = max(0.0, (WORTH_TELLING - (now - alert.raised_at)).total_seconds())
                outcome = await self._channel.tell(alert, give_up_after_s=left_s)
                self._record.add(name, alert.id)
                _log.info("drift_alert.told", channel=name, id=alert.id, outcome=outcome.value)
            del self._waiting[alert.id]
            if alert.recovered:
                self._waiting.pop(str(alert.evidence.get("alert")), None)

    async def run(self, alerts: "asyncio.Queue[DriftAlert]") -> None:
        """Work until cancelled."""
        while True:
            await self.work()
            try:
                self.take(await asyncio.wait_for(alerts.get(), _LOOK_AGAIN_S))
            except TimeoutError:
                continue
            while not alerts.empty():
                self.take(alerts.get_nowait())


async def deliver(settings: Settings, clock: Clock | None = None, hot: Hot | None = None) -> None:
    """Deliver until cancelled, by the settings that are `hot` where they may change.

    Raises:
        KafkaError: the broker failed; start again.
    """
    clock = clock or SystemClock()
    record = DeliveryRecord(settings.home / "drift" / f"{settings.config.topic_prefix}delivered")
    controls = Controls(settings)
    reach = Reach((hot.config if hot else settings.config).streams, controls)
    pages = pages_of(settings)
    channels = channels_of(settings, clock, pages.place)
    queues: list[asyncio.Queue[DriftAlert]] = [asyncio.Queue() for _ in channels]
    await controls.load()
    try:
        async with asyncio.TaskGroup() as tasks:
            if hot is not None:
                tasks.create_task(_kept_up(hot, reach))
            tasks.create_task(controls.follow())
            for channel, queue in zip(channels, queues, strict=True):
                tasks.create_task(Delivery(channel, record, reach, clock).run(queue))
                if isinstance(channel, Alertmanager):
                    tasks.create_task(_repeat(channel, settings.config.alerts.alertmanager.repeat))
            tasks.create_task(_read(settings, record, pages, queues))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    finally:
        for channel in channels:
            await channel.close()


async def _kept_up(hot: Hot, reach: Reach) -> None:
    """Let changed settings decide, until cancelled."""
    with hot.telling(lambda config: reach.take(config.streams)):
        await asyncio.Event().wait()


def pages_of(settings: Settings) -> Pages:
    """Return the folder of the alerts' pages."""
    folder = settings.home / "drift" / f"{settings.config.topic_prefix}alerts"
    return Pages(folder, settings.config.alerts.page_url)


def channels_of(settings: Settings, clock: Clock, place: Place = nowhere) -> list[Channel]:
    """Return the channels that are set up; `place` tells them where the page of an alert is."""
    asked = settings.config.alerts
    channels: list[Channel] = []
    if asked.alertmanager.url.get_secret_value():
        manager = asked.alertmanager
        channels.append(Alertmanager(manager.url, manager.timeout, manager.repeat, clock, place))
    url = webhook_url(settings)
    if url.get_secret_value():
        channels.append(Webhook(url, asked.webhook.timeout, place))
    if asked.email.host:
        password = os.environ.get("HEADRACE_SMTP_PASSWORD")
        email = asked.email.model_copy(update={"password": SecretStr(password)}) if password else asked.email
        channels.append(Email(email, place))
    return channels


def webhook_url(settings: Settings) -> SecretStr:
    """Return where alerts are posted: `HEADRACE_WEBHOOK`, else the file's; empty when nowhere."""
    return SecretStr(os.environ.get("HEADRACE_WEBHOOK", "")) or settings.config.alerts.webhook.url


async def _read(
    settings: Settings, record: DeliveryRecord, pages: Pages, queues: "Sequence[asyncio.Queue[DriftAlert]]"
) -> None:
    """Hand every alert, once its page is written, to every channel; the log has each at once."""
    async for incoming in follow(settings, [ALERTS]):
        try:
            alert = decode(incoming.value or b"", DriftAlert)
        except Rejected as error:
            _log.warning("drift_alert.unreadable", offset=incoming.offset, error=str(error))
            continue
        new = not record.has(_LOG, alert.id)
        await pages.take(alert, new=new)
        if new:
            _say(alert)
            record.add(_LOG, alert.id)
        for queue in queues:
            queue.put_nowait(alert)


async def _repeat(channel: Alertmanager, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        await channel.repeat()


def _say(alert: DriftAlert) -> None:
    event = "drift.recovered" if alert.recovered else "drift.alerted"
    say = _log.info if alert.recovered else _log.warning
    say(
        event,
        summary=alert.summary,
        id=alert.id,
        stream=alert.stream,
        signal=alert.signal.value,
        severity=alert.severity.value,
        response=alert.response.value,
        runbook=alert.runbook,
    )
