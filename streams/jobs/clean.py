"""The cleaning stage as a Flink job: `events.raw` in; `events.clean`, `.dead`, `.copies`, `dedupe.log` out.

    Kafka ─▶ gathered in record batches ─▶ by lane: CleanPipeline, its state in RocksDB ─▶ scattered ─▶ Kafka

What is paused waits in the lane; what another engine sent to `events.parked` is read too.
Exactly once: the offsets, the lanes' state and the outputs' Kafka transactions belong to one checkpoint. Runs
as `flink run -pym streams.jobs.clean …` on a cluster whose Python has Headrace and Flink's Kafka connector.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from schemas import topics
from streams.apps.clean import GROUP, prepare
from streams.jobs.ends import GROUP_OFFSETS, by_lane, gathered, write, written_type
from streams.jobs.lane import CleanLane
from streams.jobs.lanes import KEY_GROUPS, lane_keys
from streams.jobs.options import JobOptions, options, parser

NAME: Final = "headrace-clean"
INPUTS: Final = (topics.RAW, topics.REKEYED, topics.PARKED)
_BATCHES_AT_ONCE: Final = "4"
"""What one crossing to Python carries, of thousands of records each."""

Source = Callable[[StreamExecutionEnvironment, Sequence[int]], DataStream]
"""What makes the record batches that a job cleans, of `lane_type`, with the keys of the partitions."""


def main(argv: Sequence[str] | None = None) -> None:
    """Submit the job.

    Raises:
        Fatal: the configuration is wrong, or topics whose partitions go together have not equally many.
    """
    told = options(parser(__doc__ or "", GROUP).parse_args(argv))
    read = [told.settings().topic(topic) for topic in INPUTS]
    submit(told, NAME, lambda made, keys: gathered(made, told, read, GROUP_OFFSETS, None, keys))


def submit(told: JobOptions, name: str, source: Source) -> None:
    """Build the job and hand it to the cluster.

    Raises:
        Fatal: topics whose partitions go together have not equally many.
    """
    home = asyncio.run(prepare(told.settings()))
    made = environment(told, name)
    keys = lane_keys(home.partitions, _group_of)
    batches = source(made, keys)
    lane = CleanLane(told, keys)
    cleaned = by_lane(batches).process(lane, output_type=written_type()).name("clean").uid("clean")
    write(cleaned, told)
    made.execute_async(name)


def environment(told: JobOptions, name: str) -> StreamExecutionEnvironment:
    """Return the environment of a job that commits its outputs with its checkpoints."""
    settings = {
        "pipeline.name": name,
        "pipeline.object-reuse": "true",
        "pipeline.max-parallelism": str(KEY_GROUPS),
        "state.backend.type": "rocksdb",
        "execution.checkpointing.interval": f"{told.checkpoint_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "python.fn-execution.bundle.size": _BATCHES_AT_ONCE,
        "python.fn-execution.bundle.time": "20",
        "python.map-state.read-cache-size": "16",  # no entry is read twice, and what waits has large ones
    }
    if told.parallelism is not None:  # Flink's client takes the option for its own where it comes first
        settings["parallelism.default"] = str(told.parallelism)
    configuration = Configuration()
    for key, value in settings.items():
        configuration.set_string(key, value)
    return StreamExecutionEnvironment.get_execution_environment(configuration)


def _group_of(key: int) -> int:
    """Return the key group that Flink assigns; a key reaches it as a row of one field."""
    flink = get_gateway().jvm.org.apache.flink
    row = flink.types.Row(1)
    row.setField(0, key)
    return int(flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup(row, KEY_GROUPS))


if __name__ == "__main__":
    main()
