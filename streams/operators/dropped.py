"""How many events were dropped as copies: consumes the counts of a batch, produces `events.copies`."""

from collections.abc import Iterator
from datetime import datetime

from schemas import topics
from schemas.codec import encode
from schemas.copies import Copies
from schemas.record import Outgoing
from streams.operators.batch import Batch


def copies_of(batch: Batch, partition: int, now: datetime) -> Iterator[Outgoing]:
    """Yield a record for each stream of a batch."""
    for stream, tally in batch.by_stream.items():
        if tally.accepted or tally.duplicates:
            copies = Copies(
                stream=stream,
                partition=partition,
                accepted=tally.accepted,
                dropped=tally.duplicates,
                at=now,
            )
            yield Outgoing(topics.COPIES.name, stream.encode(), encode(copies))
