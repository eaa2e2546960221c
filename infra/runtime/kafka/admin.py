"""Creates the topics that the contracts name; run by every worker at its start, so none has to be first."""

from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from infra.runtime.kafka.lifecycle import connected
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.errors import Retryable
from schemas.topics import TOPICS

_log = get_logger(__name__)
_REPLICAS: Final = 3


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
