"""Reading topics without a group: releases for serving, `headrace tail`, checks and reports."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from infra.runtime.kafka.lifecycle import connected
from infra.runtime.settings import Settings
from schemas.errors import Retryable
from schemas.record import Incoming
from schemas.topics import Topic


async def follow(
    settings: Settings,
    topics: Sequence[Topic],
    *,
    start: Literal["beginning", "end"] | datetime = "beginning",
    stop_at_end: bool = False,
) -> AsyncIterator[Incoming]:
    """Yield committed records of all partitions, those of one partition in order.

    With `stop_at_end` it ends at what was the end when it began; else it goes on until closed.

    Raises:
        Retryable: a topic does not exist.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.endpoints.kafka,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        fetch_max_wait_ms=500,
    )
    async with connected(consumer):
        partitions = await partitions_of(settings, topics)
        consumer.assign(partitions)
        await _seek(consumer, partitions, start)
        ends = await consumer.end_offsets(partitions) if stop_at_end else {}
        while not stop_at_end or await _behind(consumer, ends):
            fetched = await consumer.getmany(timeout_ms=200)
            for records in fetched.values():
                for record in records:
                    yield record


async def partitions_of(settings: Settings, topics: Sequence[Topic]) -> list[TopicPartition]:
    """Return every partition of the topics: a consumer without a subscription does not know them by itself.

    Raises:
        Retryable: a topic is not there yet.
    """
    names = [settings.topic(topic) for topic in topics]
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.endpoints.kafka, client_id="headrace-follow")
    async with connected(admin):
        found = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics(names)}
    missing = [name for name in names if not found.get(name)]
    if missing:
        raise Retryable(f"no such topic: {', '.join(missing)}; `headrace up` creates Headrace's topics")
    return [TopicPartition(name, entry["partition"]) for name in names for entry in found[name]]


async def _seek(
    consumer: AIOKafkaConsumer,
    partitions: list[TopicPartition],
    start: Literal["beginning", "end"] | datetime,
) -> None:
    if start == "beginning":
        await consumer.seek_to_beginning(*partitions)
        return
    await consumer.seek_to_end(*partitions)
    if isinstance(start, datetime):
        stamps = dict.fromkeys(partitions, int(start.timestamp() * 1000))
        for partition, found in (await consumer.offsets_for_times(stamps)).items():
            if found is not None:
                consumer.seek(partition, found.offset)


async def _behind(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
    """Tell whether a partition is still to be read; positions count transaction markers, as ends do."""
    for partition, end in ends.items():
        if await consumer.position(partition) < end:
            return True
    return False
