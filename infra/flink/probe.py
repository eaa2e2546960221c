"""A job that needs no Kafka: numbers in, Python workers and keyed state used, nothing out.

It shows that a cluster runs what Headrace's jobs need (Python workers that find the shipped code, RocksDB,
checkpoints) before a topic is touched: `headrace flink run probe`.
"""

import argparse

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf

from schemas.codec import encode

_SOURCE = """
CREATE TABLE numbers (n BIGINT) WITH (
  'connector' = 'datagen', 'rows-per-second' = '{rate}', 'fields.n.min' = '0', 'fields.n.max' = '1000000'
)"""
_SINK = "CREATE TABLE nowhere (bucket STRING, seen BIGINT) WITH ('connector' = 'blackhole')"
_COUNT = "INSERT INTO nowhere SELECT bucket(n), COUNT(*) FROM numbers GROUP BY bucket(n)"


def bucket(number: int) -> str:
    """Return the key that a number is counted under; the codec is there only where our code was shipped."""
    return encode(number % 64).decode()


def main() -> None:
    """Build the job and submit it to the cluster that the client names."""
    parser = argparse.ArgumentParser(prog="probe")
    parser.add_argument("--parallelism", type=int, default=1)
    parser.add_argument("--checkpoint-ms", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=1000, help="numbers a second")
    told = parser.parse_args()
    configuration = Configuration()
    configuration.set_string("pipeline.name", "headrace-probe")
    configuration.set_string("execution.checkpointing.interval", f"{told.checkpoint_ms} ms")
    settings = EnvironmentSettings.new_instance().with_configuration(configuration).build()
    environment = TableEnvironment.create(settings)
    environment.create_temporary_function("bucket", udf(bucket, result_type="STRING"))
    environment.execute_sql(_SOURCE.format(rate=told.rate))
    environment.execute_sql(_SINK)
    environment.execute_sql(_COUNT)


if __name__ == "__main__":
    main()
