"""The job as a Bytewax dataflow: consumes the input topic, produces the output topic, at least once.

Written for throughput: one step decodes a whole batch, one stateful step per source drops the duplicates, and
the source hands on batches of 10,000, because the Kafka sink flushes after each. The recovery store holds
offsets and state (a set of ids per source) and is written every ten seconds, Bytewax's default; without it
nothing would be promised across a restart. Bytewax has no transactional sink.
"""

import os
from collections.abc import Iterable

import bytewax.operators as op  # type: ignore[import-not-found]  # in the peer's environment
from bytewax.connectors.kafka import (  # type: ignore[import-not-found]  # the same
    KafkaSink,
    KafkaSinkMessage,
    KafkaSource,
    KafkaSourceMessage,
)
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]  # the same
from bytewax.operators import StatefulBatchLogic
from cloudevent import Invalid, Reading, decode, normalised  # type: ignore[import-not-found]  # lies beside it

BROKERS = [os.environ["BENCH_KAFKA"]]
BATCH = 10_000


def decoded(messages: list[KafkaSourceMessage]) -> Iterable[tuple[str, Reading]]:
    """Decode and check a batch, keyed by source."""
    for message in messages:
        try:
            event = decode(message.value)
        except Invalid:
            continue
        yield event.source, event


class FirstSight(StatefulBatchLogic):  # type: ignore[misc]  # Bytewax is not installed where this is checked
    """Lets each id of one source pass once."""

    def __init__(self, seen: set[str] | None) -> None:
        self._seen = seen or set()

    def on_batch(self, values: list[Reading]) -> tuple[list[KafkaSinkMessage], bool]:
        seen, fresh = self._seen, []
        for event in values:
            if event.id not in seen:
                seen.add(event.id)
                fresh.append(KafkaSinkMessage(event.source.encode(), normalised(event)))
        return fresh, StatefulBatchLogic.RETAIN

    def snapshot(self) -> set[str]:
        return self._seen.copy()


flow = Dataflow("readings")
source = KafkaSource(
    BROKERS,
    [os.environ["BENCH_INPUT"]],
    batch_size=BATCH,
    add_config={
        "isolation.level": "read_committed",
        "fetch.min.bytes": "65536",
        "fetch.wait.max.ms": "100",
        "queued.min.messages": "100000",
    },
)
sink = KafkaSink(
    BROKERS,
    os.environ["BENCH_OUTPUT"],
    add_config={
        "enable.idempotence": "true",
        "linger.ms": "5",
        "batch.size": "1000000",
        "queue.buffering.max.messages": "1000000",
        "partitioner": "murmur2_random",
    },
)
messages = op.input("in", flow, source)
readings = op.flat_map_batch("decode", messages, decoded)
fresh = op.stateful_batch("first-sight", readings, FirstSight)
op.output("out", op.key_rm("unkey", fresh), sink)
