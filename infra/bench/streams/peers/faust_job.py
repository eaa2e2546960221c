"""The job as a plain Faust agent: consumes the input topic, produces the output topic, at least once.

State is a Faust table (in memory, with a changelog topic), keyed as the input is. Faust's own `exactly_once`
is not used: it is known to lose and to double events (faust-streaming issues 323 and 502).
"""

import os

import faust
import faust.types
from cloudevent import Invalid, decode, normalised  # type: ignore[import-not-found]  # lies beside it

app = faust.App(
    os.environ["BENCH_GROUP"],
    broker=f"kafka://{os.environ['BENCH_KAFKA']}",
    datadir=os.environ["BENCH_FOLDER"],
    store="memory://",
    web_enabled=False,
    topic_partitions=int(os.environ["BENCH_PARTITIONS"]),
    topic_replication_factor=1,
    consumer_auto_offset_reset="earliest",
    broker_max_poll_records=4000,
    stream_buffer_maxsize=16_384,
    stream_wait_empty=False,
    producer_linger=0.02,
    producer_max_batch_size=262_144,
)
incoming = app.topic(os.environ["BENCH_INPUT"], key_type=bytes, value_type=bytes, value_serializer="raw")
outgoing = app.topic(os.environ["BENCH_OUTPUT"], key_type=bytes, value_type=bytes, value_serializer="raw")
seen = app.Table("seen", key_type=str, value_type=int)


@app.agent(incoming)
async def clean(events: faust.types.StreamT[bytes]) -> None:
    """Check, deduplicate and forward one event after the other, which is how Faust works."""
    async for value in events:
        try:
            event = decode(value)
        except Invalid:
            continue
        identity = f"{event.source} {event.id}"
        if identity not in seen:
            seen[identity] = 1
            await outgoing.send(key=event.source.encode(), value=normalised(event))


if __name__ == "__main__":
    app.main()
