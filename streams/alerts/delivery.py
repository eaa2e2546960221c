"""Delivery of alerts: consumes `alerts.drift` at its own pace, produces log lines and webhook posts.

It has its own consumer group, so a webhook that is down delays nothing else, and an alert that was written
while nobody delivered is delivered later. What went out is on record (`<home>/drift/delivered`).
"""

import os
from datetime import timedelta
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import SecretStr

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.kafka import lifecycle
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.codec import decode
from schemas.drift import DriftAlert
from schemas.errors import Rejected
from schemas.topics import ALERTS
from streams.alerts.message import message
from streams.alerts.record import DeliveryRecord
from streams.alerts.webhook import Webhook

_log = get_logger("headrace.alerts")
_GROUP: Final = "alerts-delivery"
_LOG: Final = "log"
_WEBHOOK: Final = "webhook"
_WORTH_TELLING: Final = timedelta(hours=24)


def webhook_url(settings: Settings) -> SecretStr:
    """Return where alerts are posted: `HEADRACE_WEBHOOK`, else the file's; empty when nowhere."""
    return SecretStr(os.environ.get("HEADRACE_WEBHOOK", "")) or settings.config.webhook.url


class Delivery:
    """Tells people of one alert after the other, each once per channel."""

    def __init__(self, record: DeliveryRecord, webhook: Webhook | None, clock: Clock) -> None:
        self._record = record
        self._webhook = webhook
        self._clock = clock

    async def deliver(self, alert: DriftAlert) -> None:
        """Log the alert and post it; what was told already, or is too old to help, is not told."""
        if not self._record.has(_LOG, alert.id):
            self._say(alert)
            self._record.add(_LOG, alert.id)
        age = self._clock.now() - alert.raised_at
        if self._webhook is None or age > _WORTH_TELLING or self._record.has(_WEBHOOK, alert.id):
            return
        left_s = (_WORTH_TELLING - age).total_seconds()
        outcome = await self._webhook.post(alert.id, message(alert), give_up_after_s=left_s)
        self._record.add(_WEBHOOK, alert.id)
        _log.info("drift_alert.posted", id=alert.id, outcome=outcome.value)

    def _say(self, alert: DriftAlert) -> None:
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


async def deliver(settings: Settings, clock: Clock | None = None) -> None:
    """Deliver until cancelled.

    Raises:
        KafkaError: the broker failed; start again.
    """
    place = TopicPartition(settings.topic(ALERTS), 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.endpoints.kafka,
        group_id=settings.config.topic_prefix + _GROUP,
        client_id=_GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        fetch_max_wait_ms=200,
    )
    url = webhook_url(settings)
    webhook = Webhook(url, settings.config.webhook.timeout) if url.get_secret_value() else None
    path = settings.home / "drift" / f"{settings.config.topic_prefix}delivered"
    delivery = Delivery(DeliveryRecord(path), webhook, clock or SystemClock())
    try:
        await lifecycle.start(consumer)
        consumer.assign([place])
        async for record in consumer:
            try:
                await delivery.deliver(decode(record.value or b"", DriftAlert))
            except Rejected as error:
                _log.warning("drift_alert.unreadable", offset=record.offset, error=str(error))
            await consumer.commit({place: record.offset + 1})
    finally:
        await lifecycle.stop(consumer)
        if webhook is not None:
            await webhook.close()
