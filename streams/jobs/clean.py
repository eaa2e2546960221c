"""The cleaning stage as a Flink job: `events.raw` in; `events.clean`, `.dead`, `.copies`, `dedupe.log` out.

    Kafka ─▶ packed in Arrow batches ─▶ by lane: CleanPipeline, its state in RocksDB ─▶ unpacked ─▶ Kafka

Exactly once: the offsets, the lanes' state and the outputs' Kafka transactions belong to one checkpoint. Runs
as `flink run -pym streams.jobs.clean …` on a cluster whose Python has Headrace and Flink's Kafka connector.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pandas as pd
from pyflink.common import Configuration, Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, StreamTableEnvironment, TableResult
from pyflink.table.udf import udf

from schemas import topics
from streams.apps.clean import GROUP, prepare
from streams.jobs import tables
from streams.jobs.lane import CleanLane, outputs, written_type
from streams.jobs.lanes import KEY_GROUPS, lane_keys
from streams.jobs.options import JobOptions, options, parser
from streams.jobs.packing import Columns, pack

NAME: Final = "headrace-clean"
LIVE: Final[Mapping[str, str]] = {"scan.startup.mode": "group-offsets"}
INPUTS: Final = (topics.RAW, topics.REKEYED)
_AT_ONCE: Final = "10000"
"""Most records of a run: what one crossing to Python carries."""


def main(argv: Sequence[str] | None = None) -> None:
    """Submit the job.

    Raises:
        Fatal: the configuration is wrong, or topics whose partitions go together have not equally many.
    """
    submit(options(parser(__doc__ or "", GROUP).parse_args(argv)), LIVE, NAME)


def submit(
    told: JobOptions, scan: Mapping[str, str], name: str, read: Sequence[topics.Topic] = INPUTS
) -> TableResult:
    """Build the job and hand it to the cluster; `scan` says where in the topics it begins and ends.

    Raises:
        Fatal: topics whose partitions go together have not equally many.
    """
    home = asyncio.run(prepare(told.settings()))
    table_environment = StreamTableEnvironment.create(environment(told, name))
    table_environment.get_config().set("table.local-time-zone", "UTC")
    prefix = told.settings().config.topic_prefix
    inputs = [prefix + topic.name for topic in read]
    table_environment.execute_sql(tables.source(told.bootstrap, inputs, told.group, scan))
    table_environment.execute_sql(tables.sink(told.bootstrap, outputs(prefix), told.transactional_prefix))
    packer = udf(packed, result_type=DataTypes.BYTES(), func_type="pandas")
    table_environment.create_temporary_function("pack", packer)
    runs = table_environment.to_data_stream(table_environment.sql_query(tables.PACKED))
    keys = lane_keys(home.partitions, _group_of)
    cleaned = (
        runs.key_by(lambda run: keys[run[0]], key_type=Types.INT())
        .process(CleanLane(told, home.partitions), output_type=written_type())
        .name("clean")
        .uid("clean")
    )
    table_environment.create_temporary_view("written", table_environment.from_data_stream(cleaned))
    return table_environment.execute_sql(tables.unpacked(outputs(prefix)))


def packed(
    topic: "pd.Series[str]",
    partition: "pd.Series[int]",
    offset: "pd.Series[int]",
    stamped: "pd.Series[pd.Timestamp]",
    key: "pd.Series[Any]",
    value: "pd.Series[Any]",
    names: "pd.Series[Any]",
    held: "pd.Series[Any]",
) -> "pd.Series[Any]":
    """Pack an Arrow batch of records (`streams.jobs.packing.pack`)."""
    headers = [
        tuple(zip(some, what, strict=True)) if some is not None and len(some) else None
        for some, what in zip(names, held, strict=True)
    ]
    milliseconds = stamped.astype("datetime64[ms]").astype("int64").tolist()
    ends = (topic.tolist(), partition.tolist(), offset.tolist(), milliseconds, key.tolist(), value.tolist())
    return pd.Series(pack(Columns(*ends, headers)), dtype=object)


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
        "python.fn-execution.bundle.size": _AT_ONCE,
        "python.fn-execution.arrow.batch.size": _AT_ONCE,
        "python.fn-execution.bundle.time": "50",
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
