"""What the drift worker writes to Kafka: alerts with its own input positions, one transaction, one writer."""

from collections.abc import Iterable

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.drift import DriftAlert, Signal
from schemas.errors import Fatal, Rejected, Retryable
from schemas.topics import ALERTS
from streams.drift.watch import DriftWatch

GROUP = "drift"


class AlertLog:
    """Writes to `alerts.drift`. Starting fences a former writer: two workers cannot cry about one drift."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic(ALERTS)
        self._group = settings.config.topic_prefix + GROUP
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.endpoints.kafka,
            client_id=self._group,
            transactional_id=f"{self._group}/alerts",
            acks="all",
        )

    async def start(self) -> None:
        """Connect, and fence whoever wrote before."""
        await lifecycle.start(self._producer)

    async def stop(self) -> None:
        """Disconnect."""
        await lifecycle.stop(self._producer)

    async def write(self, alerts: Iterable[DriftAlert], positions: dict[TopicPartition, int]) -> None:
        """Write alerts and the positions up to which the input was watched (for lag displays).

        Raises:
            Fatal: another drift worker has taken over.
            Retryable: Kafka failed; nothing of it is visible.
        """
        try:
            async with self._producer.transaction():
                for alert in alerts:
                    await self._producer.send(
                        self._topic, encode(alert), key=alert.stream.encode(), partition=0
                    )
                if positions:
                    await self._producer.send_offsets_to_transaction(positions, self._group)
        except ProducerFenced as error:
            raise Fatal("another drift worker runs on this installation; stop one of them") from error
        except KafkaError as error:
            raise Retryable(f"the drift alerts could not be written: {error}") from error


async def written_alerts(settings: Settings) -> list[DriftAlert]:
    """Return the alerts that are on the topic; a record that is none (someone else's) is left out."""
    found = []
    async for record in follow(settings, [ALERTS], stop_at_end=True):
        try:
            found.append(decode(record.value or b"", DriftAlert))
        except Rejected:
            continue
    return found


def remind(watch: DriftWatch, written: Iterable[DriftAlert]) -> None:
    """Tell a watch without a memory of the alerts of its stream; tests of delivery and rollbacks are none."""
    for alert in written:
        if (
            alert.stream == watch.name
            and alert.signal is not Signal.ROLLBACK
            and "test" not in alert.evidence
        ):
            watch.seen(alert)
