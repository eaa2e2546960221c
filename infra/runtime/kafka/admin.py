"""Creates the topics that the contracts name; run by every worker at its start, so none has to be first."""

import asyncio
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from infra.runtime.kafka.lifecycle import connected
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.errors import Retryable
from schemas.topics import TOPICS

_log = get_logger(__name__)
_REPLICAS: Final = 3
_COORDINATOR_WITHIN_S: Final = 10.0


async def create_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing and return their names; those that exist are left as they are.

    Each is kept on three brokers, or on all where there are fewer.

    Raises:
        Retryable: the broker refused a topic.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.endpoints.kafka, client_id="headrace-admin")
    async with connected(admin):
        existing = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if settings.topic(topic) not in existing]
        if not missing:
            return []
        brokers = len((await admin.describe_cluster())["brokers"])
        response = await admin.create_topics(
            [
                NewTopic(
                    name=settings.topic(topic),
                    num_partitions=topic.partitions,
                    replication_factor=min(_REPLICAS, brokers),
                    topic_configs=topic.config(),
                )
                for topic in missing
            ]
        )
        return _created(response.topic_errors)


async def coordinated(admin: AIOKafkaAdminClient, group: str) -> None:
    """Wait until Kafka knows who keeps the groups: a new broker finds out at the first question.

    Raises:
        KafkaError: it does not find out in time.
    """
    deadline = asyncio.get_running_loop().time() + _COORDINATOR_WITHIN_S
    while True:
        try:
            await admin.find_coordinator(group)
            return
        except KafkaError as error:
            if not error.retriable or asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.2)


def _created(topic_errors: list[tuple[str, int, str]]) -> list[str]:
    """Return the topics that are new; another worker may have created some in the same moment."""
    created = []
    for name, code, message, *_ in topic_errors:
        error = for_code(code)
        if code == 0:
            created.append(name)
        elif error is not TopicAlreadyExistsError:
            raise Retryable(f"Kafka refused to create topic {name}: {error.__name__} {message or ''}")
    if created:
        _log.info("topics.created", topics=created)
    return created
