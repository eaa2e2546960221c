"""The job as a Quix Streams application: consumes the input topic, produces the output topic, exactly once.

State is Quix's own: an id per key (the source) in RocksDB with a changelog topic. Outputs, changelog and
offsets are committed in one transaction each second; the default of five would only delay the outputs.
"""

import os
from typing import Any

from cloudevent import Invalid, Reading, decode, normalised  # type: ignore[import-not-found]  # lies beside it
from quixstreams import Application, State  # type: ignore[import-not-found]  # in the peer's environment


def decoded(value: bytes) -> Reading | None:
    """Decode and check an event."""
    try:
        return decode(value)
    except Invalid:
        return None


def first_sight(event: Reading, state: State) -> bool:
    """Let each id of a source pass once."""
    if state.exists(event.id):
        return False
    state.set(event.id, True)
    return True


def main() -> None:
    """Run until a signal."""
    app = Application(
        broker_address=os.environ["BENCH_KAFKA"],
        consumer_group=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=1.0,
        state_dir=os.environ["BENCH_FOLDER"],
        max_partition_buffer_size=50_000,
        consumer_extra_config={"fetch.min.bytes": 65536, "fetch.wait.max.ms": 100},
        producer_extra_config={
            "linger.ms": 20,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 1_000_000,
        },
    )
    incoming = app.topic(os.environ["BENCH_INPUT"], key_deserializer="bytes", value_deserializer="bytes")
    outgoing = app.topic(os.environ["BENCH_OUTPUT"], key_serializer="bytes", value_serializer="bytes")
    readings: Any = app.dataframe(incoming).apply(decoded)
    readings = readings.filter(lambda event: event is not None)
    readings.filter(first_sight, stateful=True).apply(normalised).to_topic(outgoing)
    app.run()


if __name__ == "__main__":
    main()
