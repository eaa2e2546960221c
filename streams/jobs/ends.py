"""A job's ends: consumes topics and where to begin, or files, produces record batches; and writes such.

Both are Kafka's own record batches (message format v2), gathered and taken apart by `headrace.flink` in Java:
PyFlink's connector knows no keys, headers or coordinates, and costs a crossing for every record.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from streams.jobs.options import JobOptions

TAKEN: Final = ["topic", "partition", "batch"]
"""What a function gets of each batch."""

_CONSUMER: Final = {
    "isolation.level": "read_committed",
    "max.poll.records": "5000",
    "fetch.min.bytes": "65536",
    "fetch.max.wait.ms": "50",
}
_PRODUCER: Final = {
    "transaction.timeout.ms": "600000",  # brokers allow 15 minutes, not Flink's hour
    "linger.ms": "20",
    "batch.size": "262144",
    "max.request.size": "2097152",
}


@dataclass(frozen=True)
class Place:
    """One end of a range of a topic.

    Attributes:
        offsets: by partition; for the others, and if there are none, `otherwise` holds.
        at_ms: the first record of this moment or later, in milliseconds since 1970.
        otherwise: "group" (what the group has committed, else the earliest), "earliest" or "latest".
    """

    otherwise: str = "group"
    at_ms: int | None = None
    offsets: Mapping[int, int] | None = None


GROUP_OFFSETS: Final = Place()
"""Where the group is, else at the earliest."""


def written_type() -> Any:
    """Return the type of what functions yield: topic, partition (-1: by the keys' hash), and a batch."""
    fields = [Types.STRING(), Types.INT(), Types.PRIMITIVE_ARRAY(Types.BYTE())]
    return Types.ROW_NAMED(TAKEN, fields)


def gathered(
    environment: StreamExecutionEnvironment,
    told: JobOptions,
    read: Sequence[str],
    begin: Place,
    end: Place | None = None,
    keys: Sequence[int] = (),
) -> DataStream:
    """Return the record batches of topics as rows of their lane's key, and a row of `TAKEN`.

    `keys` are those of the partitions; without, all have the same. An `end` makes the source bounded.
    """
    jvm = get_gateway().jvm
    flink, headrace = jvm.org.apache.flink, jvm.headrace.flink
    builder = flink.connector.kafka.source.KafkaSource.builder()
    builder = builder.setBootstrapServers(told.bootstrap).setTopics(_strings(read)).setGroupId(told.group)
    builder = builder.setStartingOffsets(_initializer(begin, read)).setDeserializer(headrace.Incoming())
    if end is not None:
        builder = builder.setBounded(_initializer(end, read))
    for name, value in _CONSUMER.items():
        builder = builder.setProperty(name, value)
    return _gather(started(environment, builder.build(), "kafka"), keys)


def gathered_lines(
    environment: StreamExecutionEnvironment, named: Sequence[str], kept_bytes: int
) -> DataStream:
    """Return the lines of files as `gathered` returns records, all of one key and partition 0.

    `named` are files and folders, absolute paths or URIs; of a line `kept_bytes` are kept at most.
    """
    files = get_gateway().jvm.headrace.flink.Lines.source(_strings(named), kept_bytes)
    return _gather(started(environment, files, "files"), ())


def lane_type() -> Any:
    """Return the type of what `gathered` returns: a lane's key, and a row of `TAKEN`."""
    return Types.ROW([Types.INT(), written_type()])


def started(environment: StreamExecutionEnvironment, source: Any, name: str) -> Any:
    """Return the Java stream of a source of our own type, without watermarks, under the uid `source`."""
    unmarked = get_gateway().jvm.org.apache.flink.api.common.eventtime.WatermarkStrategy.noWatermarks()
    made = environment._j_stream_execution_environment  # noqa: SLF001  # PyFlink has no source of our own type
    return made.fromSource(source, unmarked, name).uid("source")


def keyed(stream: Any, of: Any) -> KeyedStream:
    """Key a Java stream of rows of a number and a value of type `of` by the number, within the JVM."""
    key = Types.ROW([Types.INT()]).get_java_type_info()
    by_number = stream.keyBy(get_gateway().jvm.KeyByKeySelector(), key)
    return KeyedStream(by_number, of, DataStream(stream))


def by_lane(batches: DataStream) -> KeyedStream:
    """Key what `gathered` returns by its lane."""
    return keyed(batches._j_data_stream, written_type())  # noqa: SLF001  # PyFlink has no key of ours


def write(written: DataStream, told: JobOptions) -> None:
    """Write batches of `written_type`, their records committed with the checkpoints."""
    jvm = get_gateway().jvm
    flink, headrace = jvm.org.apache.flink, jvm.headrace.flink
    builder = flink.connector.kafka.sink.KafkaSink.builder()
    builder = builder.setBootstrapServers(told.bootstrap).setRecordSerializer(headrace.Outgoing())
    builder = builder.setDeliveryGuarantee(flink.connector.base.DeliveryGuarantee.EXACTLY_ONCE)
    builder = builder.setTransactionalIdPrefix(told.transactional_prefix)
    for name, value in _PRODUCER.items():
        builder = builder.setProperty(name, value)
    records = written._j_data_stream.flatMap(headrace.Scatter()).name("scatter")  # noqa: SLF001  # nor this
    records.sinkTo(builder.build()).name("kafka").uid("sink")


def _gather(source: Any, keys: Sequence[int]) -> DataStream:
    jvm = get_gateway().jvm
    gather = jvm.headrace.flink.Gather(_array(jvm.int, keys))
    return DataStream(source.transform("gather", lane_type().get_java_type_info(), gather))


def _initializer(place: Place, read: Sequence[str]) -> Any:
    jvm = get_gateway().jvm
    initializers = jvm.org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer
    if place.at_ms is not None:
        return initializers.timestamp(place.at_ms)
    if place.offsets:
        partitions, offsets = _array(jvm.int, [*place.offsets]), _array(jvm.long, [*place.offsets.values()])
        return jvm.headrace.flink.Offsets.of(_strings(read), partitions, offsets)
    if place.otherwise == "group":
        kafka = jvm.org.apache.flink.kafka.shaded.org.apache.kafka
        return initializers.committedOffsets(kafka.clients.consumer.OffsetResetStrategy.EARLIEST)
    return initializers.earliest() if place.otherwise == "earliest" else initializers.latest()


def _strings(values: Sequence[str]) -> Any:
    made = get_gateway().jvm.java.util.ArrayList()
    for value in values:
        made.add(value)
    return made


def _array(of: Any, values: Sequence[int]) -> Any:
    made = get_gateway().new_array(of, len(values))
    for at, value in enumerate(values):
        made[at] = value
    return made
