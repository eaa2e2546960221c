"""What a stream of predictions is made of: ids, events, the choice among them, and its bounds."""

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.prediction import Prediction
from schemas.record import Coordinates
from serving.gateway import open_streams, stream
from serving.gateway.open_streams import Streams
from serving.gateway.problems import Refused
from serving.gateway.stream import Wanted, event, offsets_of

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
VALUE = codec.encode(
    Prediction(
        stream="requests", source="shop", id="1", label="sqli", score=0.5, model="requests", version=1,
        event=Coordinates("events.clean", 0, 1), raw=Coordinates("events.raw", 0, 1),
        event_time=NOW, sha256="ab", predicted_at=NOW,
    )
)  # fmt: skip


@given(st.dictionaries(st.integers(0, 99_999), st.integers(0, 10**17), min_size=1, max_size=20))
def test_an_id_says_where_each_partition_stands(positions: dict[int, int]):
    """What an event's id says is read back from `Last-Event-ID`; so it is from a heartbeat's."""
    for value in (VALUE, None):
        lines = event(positions, value).decode().splitlines()
        (last,) = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
        assert offsets_of(last) == positions


def test_an_event_is_one_whatever_its_value_holds():
    """Line breaks within a value cannot end the event or begin another."""
    encoded = event({0: 5}, b'{"a":1,\n\n"b":\r\n2}')
    assert encoded.count(b"\n\n") == 1 and encoded.endswith(b"\n\n")
    assert all(line.startswith((b"id: ", b"data: ")) for line in encoded.splitlines() if line)


@pytest.mark.parametrize(
    "text", ["x", "0", "0:", ":1", "0:-1", "0:1,", "0:1;1:2", "٣:1", "0:" + "9" * 19, "0:1\n"]
)
def test_what_is_no_id_is_refused(text: str):
    """It is a 400, not a start from somewhere."""
    with pytest.raises(Refused, match="Last-Event-ID") as refused:
        offsets_of(text)
    assert refused.value.status == 400


def test_the_choice_is_by_stream_and_source():
    """Both must fit where both are given; what is no prediction is none of them."""
    assert Wanted().has(VALUE) and Wanted("requests", "shop").has(VALUE)
    assert not Wanted("logs").has(VALUE) and not Wanted("requests", "other").has(VALUE)
    assert not Wanted().has(b"no json")


async def test_streams_are_bounded_and_end(monkeypatch: pytest.MonkeyPatch):
    """Beyond the bound, and when the gateway stops, another one is a 503; a closed one makes room."""
    monkeypatch.setattr(open_streams, "MAX_STREAMS", 1)
    streams = Streams()
    async with streams.one():
        with pytest.raises(Refused) as refused:
            streams.check_room()
        assert (refused.value.status, refused.value.headers["retry-after"]) == (503, "10")
    streams.check_room()
    streams.end()
    await streams.ended()
    with pytest.raises(Refused):
        streams.check_room()


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch):
    """Sending waits for a bounded time only."""
    monkeypatch.setattr(stream, "_SLOW_S", 0.01)

    async def never(_: object) -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await stream._sent(never, b"x")
