"""Parked events: what waits comes back as it was, in its order, and the reader knows where to stop."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.errors import Reason, Rejected
from schemas.record import Incoming, Outgoing
from streams.operators.carried import MAX_CARRIED_BYTES, Original
from streams.operators.park import HEADER, epoch_of, park, unpark

HEADERS = st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=16)), max_size=4).map(tuple)
RECORDS = st.builds(
    Original,
    topic=st.sampled_from(["events.raw", "test.events.raw"]),
    partition=st.integers(0, 3),
    offset=st.integers(0, 2**62),
    timestamp=st.integers(-1, 2**41),
    key=st.none() | st.binary(max_size=16),
    value=st.binary(max_size=64),
    headers=HEADERS,
)


def on_topic(out: Outgoing, offset: int) -> Incoming:
    """The record as it lies on `events.parked`."""
    assert out.partition is not None
    return Original(topics.PARKED.name, out.partition, offset, 0, out.key, out.value, tuple(out.headers))


@given(record=RECORDS, epoch=st.integers(-1, 2**40), partition=st.integers(0, 3), rounds=st.integers(1, 3))
def test_a_parked_event_comes_back_as_it_was(
    record: Original, epoch: int, partition: int, rounds: int
) -> None:
    """Value, key, headers, place and time survive any number of rounds; the newest epoch is the one read."""
    now: Incoming = record
    for number in range(rounds):
        parked = on_topic(park(now, partition, epoch + number), number)
        assert epoch_of(parked) == epoch + number
        (now,) = unpark([parked])
    assert now == record


@given(records=st.lists(RECORDS, max_size=8, unique_by=lambda one: (one.topic, one.partition, one.offset)))
def test_the_order_of_publication_is_restored(records: list[Original]) -> None:
    """However often they went round, one batch comes back sorted as its partition of events.raw was."""
    parked = [on_topic(park(record, 0, 1), at) for at, record in enumerate(records)]
    assert unpark(parked) == sorted(records, key=lambda one: (one.topic, one.partition, one.offset))


def test_a_record_that_nobody_parked_is_taken_as_it_is() -> None:
    """A foreign record, or a header of that name with anything in it, stops nothing."""
    plain = Original("events.parked", 0, 1, 0, None, b"x")
    odd = plain._replace(offset=2, headers=((HEADER, b"[1,"),))
    assert unpark([plain, odd]) == [plain, odd]
    assert epoch_of(plain) == epoch_of(odd) == -1


def test_what_cannot_wait_is_rejected_with_what_to_do() -> None:
    """A record that would not fit a batch with its header is a dead letter, not a stopped partition."""
    record = Original("events.raw", 0, 1, 0, None, b"x" * MAX_CARRIED_BYTES)
    with pytest.raises(Rejected, match="replay it") as caught:
        park(record, 0, 1)
    assert caught.value.reason is Reason.OVERSIZED
