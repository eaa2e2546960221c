"""Recovery of dedupe state from a real log, with a snapshot, a damaged one, a foreign one, and none."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, parse
from streams.apps.recovery import folder_of, restore, snapshot_writer, update
from streams.operators import changelog
from streams.operators.dedupe import Dedupe, fingerprint
from streams.operators.pipeline import CleanPipeline

pytestmark = pytest.mark.live

CONFIG = """
topic_prefix = "{prefix}."
[streams.requests]
kind = "api"
[streams.host]
kind = "sensor"
"""
PARTITION = 1


def pipeline_of(settings: Settings) -> CleanPipeline:
    """Return an empty pipeline."""
    return CleanPipeline(settings.config.streams)


def known(pipeline: CleanPipeline, stream: str, count: int) -> list[int]:
    """Return which of the first `count` ids of a stream a pipeline remembers."""
    dedupe = pipeline.memories[stream]
    assert isinstance(dedupe, Dedupe)
    keys = [fingerprint(stream, str(number)) for number in range(count)]
    old = dedupe.seen_long_ago(keys)
    return [number for number, key in enumerate(keys) if dedupe.seen(key) or key in old]


class Source:
    """A worker's dedupe state that writes its changelog to the real log."""

    def __init__(self, settings: Settings, publisher: Publisher, now: datetime) -> None:
        self._publisher = publisher
        self.pipeline = pipeline_of(settings)
        for memory in self.pipeline.memories.values():
            memory.advance(now.timestamp())

    async def accept(self, stream: str, first: int, count: int) -> None:
        """Remember ids `first` to `first + count` of a stream, and log them."""
        dedupe = self.pipeline.memories[stream]
        assert isinstance(dedupe, Dedupe)
        for number in range(first, first + count):
            dedupe.add(fingerprint(stream, str(number)))
        await self._publisher.send_all(list(changelog.added(self.pipeline.memories, PARTITION)))


@pytest.mark.timeout(120)
async def test_snapshot_and_log_give_what_the_log_alone_gives(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Without a snapshot, with one, with a damaged one, with another log's: the state is the same."""
    settings = Settings(tmp_path, parse(CONFIG.format(prefix=unique), "test"), stack)
    await create_topics(settings)
    now = datetime.now(UTC)

    async def restored() -> CleanPipeline:
        pipeline = pipeline_of(settings)
        assert await restore(settings, pipeline, PARTITION, now) == 40_070
        assert known(pipeline, "requests", 41_000) == list(range(40_000))
        assert known(pipeline, "host", 100) == list(range(70))
        return pipeline

    assert await restore(settings, pipeline_of(settings), PARTITION, now) == 0
    async with Publisher(settings) as publisher:
        source = Source(settings, publisher, now)
        await source.accept("requests", 0, 30_000)
        await source.accept("host", 0, 50)
        async with snapshot_writer(settings, PARTITION) as writer:
            assert await update(settings, writer, PARTITION, source.pipeline.memories, now) > 0
            assert await update(settings, writer, PARTITION, source.pipeline.memories, now) == 0
        await source.accept("requests", 30_000, 10_000)
        await source.accept("host", 50, 20)
    await restored()
    folder = folder_of(settings, PARTITION)
    kept = {file: file.read_bytes() for file in folder.iterdir()}
    for file in folder.glob("*.fp"):
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    await restored()
    for file, content in kept.items():
        file.write_bytes(content)
    other = Settings(tmp_path, parse(CONFIG.format(prefix=unique + "o"), "test"), stack)
    await create_topics(other)
    async with Publisher(other) as publisher:
        source = Source(other, publisher, now)
        await source.accept("requests", 0, 300)
        async with snapshot_writer(other, PARTITION) as writer:
            await update(other, writer, PARTITION, source.pipeline.memories, now)
    (folder / "manifest").write_bytes((folder_of(other, PARTITION) / "manifest").read_bytes())
    await restored()
    async with snapshot_writer(settings, PARTITION) as writer:
        assert writer.offset == -1
        assert await update(settings, writer, PARTITION, source.pipeline.memories, now) > 0
    await restored()
