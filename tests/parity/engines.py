"""The three engines on the same input: in memory, as the Faust worker, as the job on a Flink cluster."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from aiokafka import AIOKafkaProducer

from infra.flink import control
from infra.flink.control import Cluster
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.settings import Endpoints, Settings, load, parse
from schemas import topics
from streams.engines.memory import INPUTS, MemoryEngine
from tests.installation import environment_of, start_worker
from tests.parity.inputs import CONFIG, PARTITIONS, Published
from tests.parity.outcome import Outcome, outcome
from tests.waiting import aeventually

OUTPUTS = (topics.CLEAN, topics.DEAD, topics.COPIES, topics.DEDUPE_LOG)


def in_memory(records: Sequence[Published], now: datetime, *, forwarded: bool = True) -> Outcome:
    """Run the specification, over what was forwarded to its home or not."""
    streams = parse(CONFIG.replace("{prefix}", ""), "the test").streams
    engine = MemoryEngine(streams, partitions=PARTITIONS, partition_of=partition_of)
    for record in records:
        engine.publish(
            record.value,
            key=record.key,
            timestamp_ms=record.timestamp,
            headers=record.headers,
            partition=record.partition,
        )
    for topic in INPUTS if forwarded else INPUTS[:1]:
        for partition in range(PARTITIONS):
            while engine.step(topic, partition, now) is not None:
                continue
    return outcome(
        (topic.name, record.partition, record.key, record.value or b"")
        for topic in OUTPUTS
        for record in engine.records(topic)
    )


async def on_faust(records: Sequence[Published], stack: Endpoints, prefix: str, folder: Path) -> Outcome:
    """Run the worker until it has dealt with everything."""
    environment = environment_of(stack, folder, CONFIG.replace("{prefix}", prefix))
    settings = load(environment)
    await publish(settings, records)
    worker = start_worker("streams", environment, folder / "worker.log")
    try:
        return await dealt_with(settings, len(records))
    finally:
        worker.terminate()
        worker.wait(20)


async def on_flink(
    records: Sequence[Published],
    stack: Endpoints,
    prefix: str,
    folder: Path,
    cluster: Cluster,
    before: int = 0,
) -> Outcome:
    """Run the job until it has dealt with everything, `before` of which another engine did."""
    environment = environment_of(stack, folder, CONFIG.replace("{prefix}", prefix))
    settings = load(environment)
    await publish(settings, records)
    start(cluster, prefix, settings, environment["HEADRACE_CONFIG"])
    try:
        return await dealt_with(settings, before + len(records))
    finally:
        control.cancel(cluster, prefix)


async def on_flink_moved(
    records: Sequence[Published], stack: Endpoints, prefix: str, folder: Path, cluster: Cluster
) -> Outcome:
    """Run the job over half of it, stop it with a savepoint, and go on with one task instead of two."""
    environment = environment_of(stack, folder, CONFIG.replace("{prefix}", prefix))
    settings = load(environment)
    half = len(records) // 2
    await publish(settings, records[:half])
    start(cluster, prefix, settings, environment["HEADRACE_CONFIG"])
    await dealt_with(settings, half)
    control.stop(cluster, prefix, "", 60.0)
    await publish(settings, records[half:])
    start(cluster, prefix, settings, environment["HEADRACE_CONFIG"], parallelism=1, savepoint="last")
    try:
        return await dealt_with(settings, len(records))
    finally:
        control.cancel(cluster, prefix)


async def backfilled(
    records: Sequence[Published],
    stack: Endpoints,
    prefix: str,
    folder: Path,
    cluster: Cluster,
    *,
    letters: int,
) -> Outcome:
    """Publish all, and run the bounded job over the first half, until it ends and so many were rejected."""
    environment = environment_of(stack, folder, CONFIG.replace("{prefix}", prefix))
    settings = load(environment)
    await publish(settings, records)
    ends = Counter(record.partition for record in records[: len(records) // 2])
    until = ",".join(f"{partition}:{offset}" for partition, offset in ends.items())
    arguments = ["--bootstrap", stack.kafka, "--config", environment["HEADRACE_CONFIG"], "--end", until]
    job = control.run(cluster, prefix, "streams.jobs.backfill", 2, arguments).job

    found = Outcome()

    async def finished() -> bool:
        return any(job == known.id and known.state == "FINISHED" for _, known in control.jobs(cluster))

    async def visible() -> bool:  # brokers mark a transaction's partitions after they confirmed its commit
        nonlocal found
        found = await committed(settings)
        return len(found.dead) >= letters

    await aeventually(finished, timeout_s=60, every_s=0.5)
    await aeventually(visible, timeout_s=20, every_s=0.5)
    return found


async def from_faust_to_flink(
    records: Sequence[Published], stack: Endpoints, prefix: str, folder: Path, cluster: Cluster
) -> Outcome:
    """Run the worker over half of it, and the job over the rest: it takes the place and the memory over."""
    half = len(records) // 2
    await on_faust(records[:half], stack, prefix, folder)
    return await on_flink(records[half:], stack, prefix, folder, cluster, before=half)


def start(
    cluster: Cluster, name: str, settings: Settings, config: str, *, parallelism: int = 2, savepoint: str = ""
) -> None:
    """Submit the cleaning job, and wait until it runs."""
    arguments = ["--bootstrap", settings.endpoints.kafka, "--config", config, "--checkpoint-ms", "500"]
    control.run(cluster, name, "streams.jobs.clean", parallelism, arguments, savepoint)


async def publish(settings: Settings, records: Sequence[Published]) -> None:
    """Publish to `events.raw`, with the time stamps and in the partitions that the records name."""
    await create_topics(settings)
    topic = settings.topic(topics.RAW)
    producer = AIOKafkaProducer(bootstrap_servers=settings.endpoints.kafka, linger_ms=20)
    async with connected(producer):
        for record in records:
            await producer.send(
                topic,
                record.value,
                record.key,
                record.partition,
                timestamp_ms=record.timestamp,
                headers=list(record.headers),
            )
        await producer.flush()


async def dealt_with(settings: Settings, records: int) -> Outcome:
    """Wait until something is known of so many published records, and return what."""
    found = Outcome()

    async def accounted() -> bool:
        nonlocal found
        found = await committed(settings)
        return found.accounted >= records and found.is_whole

    many = records > 50_000  # to read all of it takes seconds
    await aeventually(accounted, timeout_s=500 if many else 60, every_s=10.0 if many else 0.5)
    return found


async def committed(settings: Settings) -> Outcome:
    """Return what the output topics hold now."""
    prefix = len(settings.config.topic_prefix)
    return outcome(
        [
            (record.topic[prefix:], record.partition, record.key, record.value or b"")
            async for record in follow(settings, OUTPUTS, stop_at_end=True)
        ]
    )
