"""The cleaning stage's consumer group while it moves between engines: waits, fences and commits in Kafka.

Both engines read and write the offsets of one group. Faust's workers are its members and commit inside their
transactions; Flink's tasks are no members, and what they commit is for show.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from infra.flink.errors import FlinkError
from infra.runtime.control import GROUPS, Controls
from infra.runtime.kafka.admin import coordinated
from infra.runtime.kafka.follow import partitions_of
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.kafka.transactions import Transactions
from infra.runtime.settings import Settings
from schemas import topics
from schemas.control import Scope, Stage
from schemas.errors import Retryable

_GROUP: Final = GROUPS[Stage.CLEAN]
_INPUTS: Final = (topics.RAW, topics.REKEYED, topics.PARKED)
_OUTPUTS: Final = (topics.CLEAN, topics.DEAD, topics.COPIES, topics.REKEYED, topics.DEDUPE_LOG)
_CLIENT: Final = "headrace-handover"
_POLL_S: Final = 0.2


async def refuse_paused(settings: Settings) -> None:
    """Refuse while something of the stage is paused, which the Flink job does not heed.

    Raises:
        FlinkError: the stage or a stream is paused, or events of one that was still wait to be read back.
        Retryable: Kafka does not answer.
    """
    controls = Controls(settings)
    await controls.load()
    paused = sorted(controls.paused_streams)
    if controls.paused(Scope.STAGE, Stage.CLEAN.value) is not None:
        paused.append(Stage.CLEAN.value)
    if paused:
        raise FlinkError(
            f"{', '.join(paused)} paused, which the job does not heed: `headrace streams resume` first"
        )
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.endpoints.kafka, client_id=_CLIENT)
    async with connected(consumer), _admin(settings) as admin:
        places = await partitions_of(settings, [topics.PARKED])
        ends, first = await consumer.end_offsets(places), await consumer.beginning_offsets(places)
        taken = await admin.list_consumer_group_offsets(_name(settings), partitions=places)
    left = sum(max(0, ends[at] - max(first[at], int(taken[at].offset))) for at in places)
    if left:
        raise FlinkError(
            f"{left} events of paused streams wait in events.parked, which the job does not read"
        )


async def wait_members(settings: Settings, *, present: bool, within_s: float) -> None:
    """Wait until workers are in the group and share its partitions, or until none is in it any more.

    Raises:
        FlinkError: it does not come to that in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    async with _admin(settings) as admin:
        while True:
            state, members = await _described(admin, _name(settings))
            if (state == "Stable" and members) if present else not members:
                return
            if loop.time() > deadline:
                raise FlinkError(
                    f"{_name(settings)} is {state} with {len(members)} workers after {within_s:.0f} s"
                    f" ({', '.join(members) or 'none'}); it should have {'some' if present else 'none'}"
                )
            await asyncio.sleep(_POLL_S)


async def members(settings: Settings) -> list[str]:
    """Return the workers that are in the group now."""
    async with _admin(settings) as admin:
        return (await _described(admin, _name(settings)))[1]


async def fence(settings: Settings) -> None:
    """End every worker's last transaction for good, so that all it committed can be read.

    Brokers confirm a commit before they have marked it everywhere: offsets and the log that are read at once
    could be those of before. A worker that is cut off and lives on finds its transactions taken over.
    """
    lanes: dict[int, list[TopicPartition]] = {}
    for place in await partitions_of(settings, _INPUTS):
        lanes.setdefault(place.partition, []).append(place)
    transactions = Transactions(settings, _GROUP)
    try:
        for places in lanes.values():
            lane = next(place for place in places if place.topic == settings.topic(topics.RAW))
            await transactions.take_over(lane, places)
            await transactions.release(lane)
    finally:
        await transactions.stop()


async def wait_settled(settings: Settings, within_s: float) -> None:
    """Wait until every transaction that was open on the stage's outputs has ended.

    Raises:
        FlinkError: one stays open.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    reader, written = _reader(settings, "read_committed"), _reader(settings, "read_uncommitted")
    async with connected(reader), connected(written):
        ends = await written.end_offsets(await partitions_of(settings, _OUTPUTS))
        while ends:
            stable = await reader.end_offsets(list(ends))
            ends = {place: end for place, end in ends.items() if stable[place] < end}
            if ends and loop.time() > deadline:
                told = ", ".join(f"{place.topic}[{place.partition}]" for place in sorted(ends))
                raise FlinkError(f"after {within_s:.0f} s a transaction is still open on {told}")
            if ends:
                await asyncio.sleep(_POLL_S)


async def commit(settings: Settings, positions: Mapping[TopicPartition, int]) -> None:
    """Commit offsets for the group; Kafka refuses it while a worker is in it.

    Raises:
        FlinkError: a worker is in it.
        Retryable: Kafka does not answer.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.endpoints.kafka,
        client_id=_CLIENT,
        group_id=_name(settings),
        enable_auto_commit=False,
    )
    try:
        async with connected(consumer):
            consumer.assign(list(positions))
            await consumer.commit(dict(positions))
    except KafkaError as error:
        if type(error).__name__ in {"CommitFailedError", "UnknownMemberIdError", "IllegalGenerationError"}:
            raise FlinkError(f"a worker joined {_name(settings)} before it was time: stop it") from error
        raise Retryable(f"Kafka did not take the offsets: {error}") from error


def _name(settings: Settings) -> str:
    return settings.config.topic_prefix + _GROUP


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """Connect for the length of a block.

    Raises:
        Retryable: Kafka does not answer.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.endpoints.kafka, client_id=_CLIENT)
    try:
        async with connected(admin):
            await coordinated(admin, _name(settings))
            yield admin
    except KafkaError as error:
        raise Retryable(f"Kafka does not answer: {error}; see `headrace status`") from error


def _reader(settings: Settings, isolation: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=settings.endpoints.kafka, client_id=_CLIENT, isolation_level=isolation
    )


async def _described(admin: AIOKafkaAdminClient, group: str) -> tuple[str, list[str]]:
    """Return a group's state and its members' names; a described group is (error, group, state, …)."""
    (found,) = [entry for answer in await admin.describe_consumer_groups([group]) for entry in answer.groups]
    return str(found[2]), [f"{client} ({host.lstrip('/')})" for _, client, host, *_ in found[5]]
