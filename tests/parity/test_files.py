"""Files that are backfilled on Flink become what the engine in memory makes of their lines."""

import gzip
import json
import os
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from infra.flink import control
from infra.flink.control import Cluster
from infra.flink.errors import FlinkError
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.settings import Endpoints, Settings, load
from schemas import codec, topics
from schemas.clean import Clean
from schemas.dead import Dead
from schemas.errors import Reason
from streams.jobs.files import kept_bytes
from tests.installation import environment_of
from tests.parity.engines import committed, in_memory, start
from tests.parity.inputs import CONFIG, PARTITIONS, Published, records
from tests.parity.outcome import Outcome
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]
NOW = datetime.now(UTC)
MODIFIED_S = int((NOW - timedelta(minutes=5)).timestamp())
TOO_LONG = b'{"specversion": "1.0", "data": "' + b"z" * 700_000 + b'"}'


class Archive(NamedTuple):
    """Files, and their lines as files have them: by URI, the first at index 1."""

    folder: Path
    lines: dict[str, list[bytes]]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """The published records in two files: one with CRLF here and there, one packed and without a last end."""
    values = [record.value or b"" for record in records(NOW)]
    values.insert(len(values) // 3, TOO_LONG)
    half = len(values) // 2
    folder = tmp_path / "archive" / "2026"
    folder.mkdir(parents=True)
    ends = [b"\r\n" if number % 3 == 0 else b"\n" for number in range(half)]
    plain = b"".join(value + end for value, end in zip(values[:half], ends, strict=True))
    (folder / "11-01.jsonl").write_bytes(plain)
    (folder / "11-02 late.jsonl.gz").write_bytes(gzip.compress(b"\n".join(values[half:])))
    (folder / "_SUCCESS").write_bytes(b"not an event\n")
    for path in folder.iterdir():
        os.utime(path, (MODIFIED_S, MODIFIED_S))
    uris = [f"{folder.as_uri()}/11-01.jsonl", f"{folder.as_uri()}/11-02%20late.jsonl.gz"]
    return Archive(folder, {uris[0]: [b"", *values[:half]], uris[1]: [b"", *values[half:]]})


async def test_files_become_what_the_engine_in_memory_makes_of_them(
    archive: Archive, flink: Cluster, stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Equal events by key and in order, rejections with their bytes; a second time all are duplicates."""
    environment = environment_of(stack, tmp_path, CONFIG.replace("{prefix}", unique))
    settings = load(environment)
    specified = in_memory([*_published(archive, settings)], NOW)
    assert specified.stray
    assert {Reason.OVERSIZED, Reason.MALFORMED_JSON} <= {letter[1] for letter in specified.dead}
    assert any(b"\xff" in letter[3] for letter in specified.dead)

    arguments = ["--bootstrap", stack.kafka, "--config", environment["HEADRACE_CONFIG"]]
    arguments += ["--files", str(archive.folder)]
    found = await _backfilled(flink, unique, arguments, 1, settings, specified.accounted)
    assert _without_places(found.dead) == _without_places(specified.dead)
    assert _without_places(found.clean) == _without_places(specified.clean)
    assert found.stray == specified.stray
    assert (found.accepted, found.dropped) == (specified.accepted, specified.dropped)
    assert found.remembered == specified.remembered
    await _lie_where_they_say(archive, settings)

    again = await _backfilled(flink, unique, arguments, 2, settings, 2 * specified.accounted)
    assert again.accepted == specified.accepted
    assert again.dropped == specified.dropped + specified.dropped + specified.accepted
    assert len(again.dead) == 2 * len(specified.dead)


async def test_a_damaged_archive_is_named_and_ends_the_job(
    flink: Cluster, stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """It is not tried again: it would be damaged then, too."""
    environment = environment_of(stack, tmp_path, CONFIG.replace("{prefix}", unique))
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b"{}\n" * 1000 + random.Random(3).randbytes(50_000))[:-9000])
    arguments = ["--bootstrap", stack.kafka, "--config", environment["HEADRACE_CONFIG"], "--files", str(cut)]
    told = ""

    async def failed() -> bool:
        nonlocal told
        known = dict(control.jobs(flink)).get(unique)
        told = told or (known.cause if known is not None else "")
        return known is not None and known.state == "FAILED" and known.restarts == 0

    try:
        control.run(flink, unique, "streams.jobs.backfill", 1, arguments)
    except FlinkError as error:  # it may have failed before all its tasks ran
        told = str(error)
    await aeventually(failed, timeout_s=30, every_s=0.5)
    assert f"{cut.as_uri()} is damaged behind line 1" in told


async def test_a_backfill_does_not_run_beside_the_job_that_cleans(
    flink: Cluster, stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """It is refused before it is submitted, and so is the other way round."""
    environment = environment_of(stack, tmp_path, CONFIG.replace("{prefix}", unique))
    start(flink, "clean", load(environment), environment["HEADRACE_CONFIG"], parallelism=1)
    try:
        with pytest.raises(FlinkError, match=r"clean runs, as job .* `headrace flink stop clean` first"):
            control.run(flink, "backfill", "streams.jobs.backfill", 1, [])
    finally:
        control.stop(flink, "clean", "", 60.0)
    control.forget_savepoint(flink, "clean")
    with pytest.raises(FlinkError, match="no savepoint of clean is remembered"):
        control.run(flink, "clean", "streams.jobs.clean", 1, [], "last")


def _published(archive: Archive, settings: Settings) -> Iterable[Published]:
    """Yield the lines as records in the partitions where their sources are at home."""
    kept = kept_bytes(settings.config.streams)
    for lines in archive.lines.values():
        for value in lines:
            if value.strip():
                cut = () if len(value) <= kept else (("headrace-cut-from", b"%d" % len(value)),)
                yield Published(_home(value), MODIFIED_S * 1000, None, value[:kept], cut)


def _home(value: bytes) -> int:
    try:
        return partition_of(str(json.loads(value)["source"]).encode(), PARTITIONS)
    except (ValueError, KeyError):
        return 0


async def _backfilled(
    cluster: Cluster, name: str, arguments: list[str], parallelism: int, settings: Settings, records: int
) -> Outcome:
    """Run the job until it ends, and return what there is of so many lines."""
    job = control.run(cluster, name, "streams.jobs.backfill", parallelism, arguments).job
    found = Outcome()

    async def finished() -> bool:
        return any(job == known.id and known.state == "FINISHED" for _, known in control.jobs(cluster))

    async def visible() -> bool:  # brokers mark a transaction's partitions after they confirmed its commit
        nonlocal found
        found = await committed(settings)
        return found.accounted >= records

    await aeventually(finished, timeout_s=60, every_s=0.5)
    await aeventually(visible, timeout_s=20, every_s=0.5)
    return found


async def _lie_where_they_say(archive: Archive, settings: Settings) -> None:
    """Look up every clean event and every rejection by file and line."""
    seen = 0
    async for record in follow(settings, [topics.CLEAN, topics.DEAD], stop_at_end=True):
        seen += 1
        if record.topic == settings.topic(topics.CLEAN):
            clean = codec.decode(record.value or b"", Clean)
            line = archive.lines[clean.raw.topic][clean.raw.offset]
            assert json.loads(line.decode(errors="replace"))["id"] == clean.id
        else:
            dead = codec.decode(record.value or b"", Dead)
            line = archive.lines[dead.raw.topic][dead.raw.offset]
            assert line[: len(dead.original)] == dead.original
    assert seen


def _without_places(found: Any) -> Any:
    """Leave out partitions and offsets, which a record on a topic and a line do not share."""
    if isinstance(found, list):
        return sorted(repr(letter[1:]) for letter in found)
    return {source: [{**event, "raw": None} for event in events] for source, events in found.items()}
