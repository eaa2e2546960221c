"""What is told of copies: with every batch, how many of how many."""

from datetime import UTC, datetime

from schemas.codec import decode
from schemas.copies import Copies
from streams.operators.batch import Batch, Tally
from streams.operators.dropped import copies_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_each_stream_of_a_batch_is_told():
    """One record a stream; what was only rejected has none."""
    tallies = {"host": Tally(accepted=40, duplicates=5), "web": Tally(accepted=1), "": Tally()}
    host, web = copies_of(Batch(by_stream=tallies), 1, NOW)
    assert (host.topic, host.key) == ("events.copies", b"host")
    assert decode(host.value, Copies) == Copies(stream="host", partition=1, accepted=40, dropped=5, at=NOW)
    assert decode(web.value, Copies).dropped == 0
