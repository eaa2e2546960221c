"""A job that needs no Kafka: numbers in, Python workers and keyed state used, nothing out.

It shows that a cluster runs what Headrace's jobs need (Python workers that find the shipped code, classes in
Java, RocksDB, checkpoints) before a topic is touched: `headrace flink run probe`.
"""

import argparse
from collections.abc import Iterator
from typing import Any, Final

from pyflink.common import Configuration, Types
from pyflink.datastream import (
    KeyedProcessFunction,
    KeyedStream,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.java_gateway import get_gateway

from schemas.codec import encode
from streams.jobs.ends import keyed, started

NAME: Final = "headrace-probe"
_NUMBERS: Final = 2**62


class Count(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink has no types
    """Counts the numbers of each key. State is made on the worker."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Open the state."""
        packed = Types.PRIMITIVE_ARRAY(Types.BYTE())
        self._seen = runtime_context.get_state(ValueStateDescriptor("seen", packed))

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        """Count one; the codec is there only where our code was shipped."""
        self._seen.update(encode(int(self._seen.value() or b"0") + 1))
        yield from ()


def main() -> None:
    """Build the job and submit it to the cluster that the client names."""
    parser = argparse.ArgumentParser(prog="probe")
    parser.add_argument("--parallelism", type=int, default=1)
    parser.add_argument("--checkpoint-ms", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=1000, help="numbers a second")
    told = parser.parse_args()
    configuration = Configuration()
    configuration.set_string("execution.checkpointing.interval", f"{told.checkpoint_ms} ms")
    made = StreamExecutionEnvironment.get_execution_environment(configuration)
    counted = _numbers(made, told.rate).process(Count(), output_type=Types.LONG())
    counted.name("count").uid("count")
    made.execute_async(NAME)


def _numbers(environment: StreamExecutionEnvironment, rate: int) -> KeyedStream:
    """Return the numbers by their keys, which Java makes: a key of ours would cost Python workers more."""
    jvm = get_gateway().jvm
    flink = jvm.org.apache.flink
    number = Types.ROW([Types.LONG()])
    row = Types.ROW([Types.INT(), number]).get_java_type_info()
    limit = flink.api.connector.source.util.ratelimit.RateLimiterStrategy.perSecond(float(rate))
    source = flink.connector.datagen.source.DataGeneratorSource(
        jvm.headrace.flink.Numbers(), _NUMBERS, limit, row
    )
    return keyed(started(environment, source, "numbers"), number)


if __name__ == "__main__":
    main()
