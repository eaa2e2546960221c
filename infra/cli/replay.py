"""Dead letters sent again: `events.dead` in, the original bytes, headers and key on `events.raw` out.

A replayed record carries the header `headrace-replay: topic/partition/offset` of its dead letter. That header
is the only memory there is: it is written by the very act that it remembers, and found again on `events.raw`,
or on `events.dead` when the record was rejected again. Two replays at once cannot both send: each first
fences the other's transactions, then looks, then sends in a transaction of its own. A letter older than
`events.raw` is kept cannot be looked up any more and is sent only when asked for explicitly.
"""

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.settings import Settings
from schemas import codec, topics
from schemas.dead import Dead
from schemas.errors import Fatal, Retryable

HEADER: Final = "headrace-replay"
_CHUNK: Final = 500
_CLOCKS_DIFFER_BY: Final = timedelta(minutes=5)
_FIX_TIMEOUT_S: Final = 30.0


class Letter(NamedTuple):
    """A dead letter and where it lies; its id is `partition:offset`."""

    partition: int
    offset: int
    dead: Dead

    @property
    def id(self) -> str:
        """Return what `headrace dead show` takes."""
        return f"{self.partition}:{self.offset}"

    @property
    def came_back_from(self) -> str:
        """Return the id of the letter of which this is a replay that was rejected again; mostly empty."""
        for name, value in self.dead.headers:
            if name == HEADER:
                return ":".join(value.decode(errors="replace").split("/")[-2:])
        return ""


@dataclass
class Outcome:
    """What a replay did, by letter id."""

    sent: list[str] = field(default_factory=list)
    replayed_before: list[str] = field(default_factory=list)
    too_old: list[str] = field(default_factory=list)
    unfixed: dict[str, str] = field(default_factory=dict)


async def letters(settings: Settings, wanted: Callable[[Letter], bool]) -> AsyncIterator[Letter]:
    """Yield the dead letters there are now, oldest first, that are wanted."""
    async for record in follow(settings, [topics.DEAD], start="beginning", stop_at_end=True):
        letter = Letter(record.partition, record.offset, codec.decode(record.value or b"", Dead))
        if wanted(letter):
            yield letter


async def letter_at(settings: Settings, id: str) -> Letter:
    """Return one dead letter.

    Raises:
        Fatal: the id is none, or nothing lies there (any more).
    """
    partition, _, offset = id.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise Fatal(f"{id!r} is no dead letter's id; ids look like 0:42, see `headrace dead list`")
    place = TopicPartition(settings.topic(topics.DEAD), int(partition))
    consumer = AIOKafkaConsumer(
        place.topic,
        bootstrap_servers=settings.endpoints.kafka,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    async with connected(consumer):
        if place in consumer.assignment():
            end = (await consumer.end_offsets([place]))[place]
            if int(offset) < end:
                consumer.seek(place, int(offset))
                record = await _next(consumer, place, end)
                if record is not None and record.offset == int(offset):
                    return Letter(record.partition, record.offset, codec.decode(record.value, Dead))
    raise Fatal(f"there is no dead letter {id}; see `headrace dead list`")


async def replay(settings: Settings, chosen: Sequence[Letter], *, again: bool, fix: str = "") -> Outcome:
    """Send letters again, each once for ever unless `again`.

    `fix` is a command that gets the original on its standard input and gives the mended record on its output.

    Raises:
        Fatal: another replay began meanwhile; nothing of the present chunk was sent.
        Retryable: the brokers failed; what was sent before is remembered.
    """
    outcome = Outcome()
    if not chosen:
        return outcome
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.endpoints.kafka,
        client_id="headrace-replay",
        transactional_id=f"{settings.config.topic_prefix}headrace-replay",
        acks="all",
        max_request_size=2 * 1024 * 1024,
    )
    try:
        await lifecycle.start(producer)  # fences a replay that still runs, before we look what was sent
        fresh = list(chosen) if again else await _fresh(settings, chosen, outcome)
        for start in range(0, len(fresh), _CHUNK):
            await _send(settings, producer, fresh[start : start + _CHUNK], fix, outcome)
    except KafkaError as error:
        if "Fenced" in type(error).__name__ or "InvalidProducerEpoch" in type(error).__name__:
            raise Fatal(
                "another replay began meanwhile; see what it sent, then run this one again"
            ) from error
        raise Retryable(f"Kafka did not take the replay: {error}") from error
    finally:
        await lifecycle.stop(producer)
    return outcome


async def _fresh(settings: Settings, chosen: Sequence[Letter], outcome: Outcome) -> list[Letter]:
    """Leave out what was replayed before, and what is too old for telling."""
    horizon = datetime.now(UTC) - timedelta(milliseconds=topics.RAW.retention_ms)
    since = min(letter.dead.rejected_at for letter in chosen) - _CLOCKS_DIFFER_BY
    before = await _replayed(settings, since)
    fresh = []
    for letter in chosen:
        if _mark(settings, letter) in before:
            outcome.replayed_before.append(letter.id)
        elif letter.dead.rejected_at < horizon:
            outcome.too_old.append(letter.id)
        else:
            fresh.append(letter)
    return fresh


async def _replayed(settings: Settings, since: datetime) -> set[str]:
    """Return the marks of all replays since a moment: no letter was replayed before it was rejected."""
    marks: set[str] = set()
    async for record in follow(settings, [topics.RAW, topics.DEAD], start=since, stop_at_end=True):
        headers = record.headers
        if record.topic == settings.topic(topics.DEAD):
            headers = codec.decode(record.value or b"", Dead).headers
        marks.update(value.decode(errors="replace") for name, value in headers if name == HEADER)
    return marks


async def _send(
    settings: Settings, producer: AIOKafkaProducer, chunk: Sequence[Letter], fix: str, outcome: Outcome
) -> None:
    """Send one chunk in one transaction; a letter that its fix fails on is left where it is."""
    mended: list[tuple[Letter, bytes]] = []
    for letter in chunk:
        try:
            original = letter.dead.original
            mended.append((letter, await _fixed(fix, original) if fix else original))
        except Retryable as error:
            outcome.unfixed[letter.id] = str(error)
    topic = settings.topic(topics.RAW)
    partitions = len(await producer.partitions_for(topic))
    async with producer.transaction():
        pending = []
        for letter, value in mended:
            dead = letter.dead
            kept = [(name, content) for name, content in dead.headers if name != HEADER]
            partition = dead.raw.partition if dead.key is None else partition_of(dead.key, partitions)
            headers = [*kept, (HEADER, _mark(settings, letter).encode())]
            pending.append(
                await producer.send(topic, value, key=dead.key, partition=partition, headers=headers)
            )
        for acknowledged in pending:
            await acknowledged
    outcome.sent.extend(letter.id for letter, _ in mended)


async def _fixed(command: str, original: bytes) -> bytes:
    """Run the fix on one record.

    Raises:
        Retryable: it failed, gave nothing, or took too long.
        Fatal: there is no such command.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise Fatal(f"--fix {command!r} cannot be run: {error}") from error
    try:
        async with asyncio.timeout(_FIX_TIMEOUT_S):
            output, errors = await process.communicate(original)
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise Retryable(f"the fix took longer than {_FIX_TIMEOUT_S:g} s") from error
    if process.returncode or not output:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise Retryable(
            f"the fix ended with {process.returncode} and {len(output)} bytes: {last}".rstrip(": ")
        )
    return output.rstrip(b"\n")


async def _next(consumer: AIOKafkaConsumer, place: TopicPartition, end: int) -> Any:
    """Return the next record before `end`; None where only a transaction's marks are left."""
    while await consumer.position(place) < end:
        for record in (await consumer.getmany(place, timeout_ms=200, max_records=1)).get(place, ()):
            return record
    return None


def _mark(settings: Settings, letter: Letter) -> str:
    return f"{settings.topic(topics.DEAD)}/{letter.partition}/{letter.offset}"
