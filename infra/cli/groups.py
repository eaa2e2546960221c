"""Consumer groups as operators see them: members, positions and lag in; on a reset, new positions out.

A reset moves a group's committed offsets while nobody runs in it. Kafka itself refuses it otherwise, so a
worker that starts in the same moment cannot be overtaken.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from infra.runtime.control import GROUPS
from infra.runtime.kafka.admin import coordinated
from infra.runtime.kafka.follow import partitions_of
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.settings import Settings
from schemas import topics
from schemas.control import Stage
from schemas.errors import Fatal, Retryable
from schemas.topics import Topic

INPUTS: Final[Mapping[Stage, tuple[Topic, ...]]] = {
    Stage.CLEAN: (topics.RAW,),
    Stage.SINK: (topics.CLEAN, topics.DEAD, topics.PREDICTIONS, topics.LABELS),
    Stage.INFERENCE: (topics.CLEAN,),
}
"""What each stage reads; of the sink, the topics that count."""

MARGIN: Final = 0.95
"""Part of the dedupe window that a reset may reach back: the rest is the time until the worker has read."""

To = Literal["earliest", "latest"] | datetime


@dataclass
class Group:
    """A stage's group: who runs in it, and for each partition the next offset and the end."""

    stage: Stage
    name: str
    state: str = "Empty"
    members: list[str] = field(default_factory=list)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    ends: dict[TopicPartition, int] = field(default_factory=dict)

    @property
    def lag(self) -> int:
        """Return how many records are still to come, where something was committed, or all there are."""
        return sum(max(0, end - self.committed.get(at, 0)) for at, end in self.ends.items())


@dataclass
class Move:
    """What a reset would do, or did, to one group."""

    group: Group
    after: dict[TopicPartition, int]
    again: int
    """Records that would be read a second time."""
    skipped: int
    """Records that would never be read."""

    def offsets(self, which: Literal["before", "after"]) -> dict[str, int]:
        """Return next offsets by `topic:partition`."""
        found = self.after if which == "after" else {at: self.group.committed.get(at, 0) for at in self.after}
        return {f"{at.topic}:{at.partition}": offset for at, offset in found.items()}


async def groups(settings: Settings) -> list[Group]:
    """Return every stage's group as it is now.

    Raises:
        Retryable: Kafka does not answer.
    """
    async with _clients(settings) as (admin, consumer):
        return [await _group(settings, stage, admin, consumer) for stage in Stage]


@asynccontextmanager
async def _clients(settings: Settings) -> AsyncIterator[tuple[AIOKafkaAdminClient, AIOKafkaConsumer]]:
    """Connect for the length of a block.

    Raises:
        Retryable: Kafka does not answer.
    """
    options = {"bootstrap_servers": settings.endpoints.kafka, "client_id": "headrace-operator"}
    admin, consumer = AIOKafkaAdminClient(**options), AIOKafkaConsumer(**options)
    try:
        async with connected(admin), connected(consumer):
            await coordinated(admin, settings.config.topic_prefix + GROUPS[Stage.CLEAN])
            yield admin, consumer
    except KafkaError as error:
        raise Retryable(f"Kafka does not answer: {error}; see `headrace status`") from error


async def parked(settings: Settings) -> int:
    """Return about how many events of paused streams wait: what the cleaning stage did not take back yet."""
    async with _clients(settings) as (admin, consumer):
        places = await partitions_of(settings, [topics.PARKED])
        ends = await consumer.end_offsets(places)
        first = await consumer.beginning_offsets(places)
        name = settings.config.topic_prefix + GROUPS[Stage.CLEAN]
        taken = await admin.list_consumer_group_offsets(name, partitions=places)
    return sum(max(0, ends[at] - max(first[at], int(taken[at].offset))) for at in places)


async def plan(settings: Settings, stage: Stage, to: To) -> Move:
    """Work out what a reset would do.

    Raises:
        Fatal: members run, or it would break a promise; the message says which and what to do instead.
        Retryable: Kafka does not answer.
    """
    if stage is Stage.SINK:
        raise Fatal(
            "the sink cannot be reset: it goes on from the highest offset in each ClickHouse table, whatever"
            " its group says, so that no row can come twice. To fill tables anew, name another `database` in"
            " headrace.toml and restart the sink: it then reads the topics from their start"
        )
    async with _clients(settings) as (admin, consumer):
        group = await _group(settings, stage, admin, consumer)
        _refuse_members(group)
        places = list(group.ends)
        first = await consumer.beginning_offsets(places)
        after = await _target(consumer, places, first, group.ends, to)
        move = _moved(group, after, first)
        if stage is Stage.CLEAN:
            await _refuse_older_than_the_window(settings, consumer, move)
    if stage is Stage.INFERENCE and move.again:
        raise Fatal(
            f"{move.again} events would be answered a second time, and `predictions` holds one answer an"
            " event: inference can only be reset forward, to pass events over"
        )
    return move


async def carry_out(settings: Settings, move: Move) -> None:
    """Commit the new offsets.

    Raises:
        Fatal: a member joined the group meanwhile; nothing was changed.
        Retryable: Kafka does not answer.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.endpoints.kafka,
        client_id="headrace-operator",
        group_id=move.group.name,
        enable_auto_commit=False,
    )
    try:
        async with connected(consumer):
            consumer.assign(list(move.after))
            await consumer.commit(dict(move.after))
    except KafkaError as error:
        if type(error).__name__ in {"CommitFailedError", "UnknownMemberIdError", "IllegalGenerationError"}:
            raise Fatal(
                f"a worker joined {move.group.name} meanwhile; nothing was changed: stop it first"
            ) from error
        raise Retryable(f"Kafka did not take the new offsets: {error}") from error


async def _group(
    settings: Settings, stage: Stage, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer
) -> Group:
    name = settings.config.topic_prefix + GROUPS[stage]
    places = await partitions_of(settings, INPUTS[stage])
    (described,) = [
        entry for answer in await admin.describe_consumer_groups([name]) for entry in answer.groups
    ]
    committed = await admin.list_consumer_group_offsets(name, partitions=places)
    return Group(
        stage,
        name,
        described[2] if described[2] != "Dead" else "Empty",
        [f"{client} ({host.lstrip('/')})" for _, client, host, *_ in _members(described)],
        {at: int(entry.offset) for at, entry in committed.items() if entry.offset >= 0},
        await consumer.end_offsets(places),
    )


def _members(described: Any) -> list[Any]:
    """Return the members of a described group: (error, group, state, type, protocol, members, …)."""
    return list(described[5])


def _refuse_members(group: Group) -> None:
    if group.members:
        raise Fatal(
            f"workers of {group.name} run: {', '.join(group.members)}. Their next transaction would overwrite"
            " the reset: stop them first (`headrace down --home …` stops all; one that was killed leaves the"
            " group after some seconds)"
        )


async def _target(
    consumer: AIOKafkaConsumer,
    places: list[TopicPartition],
    first: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
    to: To,
) -> dict[TopicPartition, int]:
    if to == "earliest":
        return dict(first)
    if to == "latest":
        return dict(ends)
    found = await consumer.offsets_for_times(dict.fromkeys(places, int(to.timestamp() * 1000)))
    return {at: found[at].offset if found[at] is not None else ends[at] for at in places}


def _moved(group: Group, after: Mapping[TopicPartition, int], first: Mapping[TopicPartition, int]) -> Move:
    now = {at: max(group.committed.get(at, 0), first[at]) for at in after}
    again = sum(max(0, now[at] - after[at]) for at in after)
    skipped = sum(max(0, after[at] - now[at]) for at in after)
    return Move(group, dict(after), again, skipped)


async def _refuse_older_than_the_window(settings: Settings, consumer: AIOKafkaConsumer, move: Move) -> None:
    """Refuse to read again what the dedupe state no longer remembers."""
    windows = {name: stream.dedupe.window for name, stream in settings.config.streams.items()}
    if not windows or not move.again:
        return
    narrowest = min(windows, key=lambda name: windows[name])
    horizon = datetime.now(UTC) - timedelta(seconds=windows[narrowest] * MARGIN)
    stamps = dict.fromkeys(move.after, int(horizon.timestamp() * 1000))
    found = await consumer.offsets_for_times(stamps)
    for at, offset in move.after.items():
        known_from = found[at].offset if found[at] is not None else move.group.ends[at]
        if offset < min(known_from, move.group.committed.get(at, 0)):
            raise Fatal(
                f"{at.topic}[{at.partition}] would be read from {offset}, but what lies before {known_from}"
                f" is older than the dedupe window of stream {narrowest!r} ({windows[narrowest]:g} s) is sure"
                " to remember: it would be cleaned a second time. Go back no further than --to"
                f" {horizon:%Y-%m-%dT%H:%M:%SZ}"
            )
