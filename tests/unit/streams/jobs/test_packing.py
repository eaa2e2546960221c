"""Runs of records: what goes into a blob comes out of it."""

from hypothesis import given
from hypothesis import strategies as st

from streams.jobs.packing import Columns, PackedRecord, pack, unpack
from streams.operators.home import HEADER

_BYTES = st.none() | st.binary(max_size=8)
_HEADERS = st.dictionaries(st.text(max_size=4), st.binary(max_size=4), max_size=3).map(
    lambda d: tuple(d.items())
)
_RECORDS = st.lists(
    st.builds(
        PackedRecord,
        st.sampled_from(("events.raw", "events.rekeyed")),
        st.integers(0, 2),
        st.integers(0, 2**63 - 1),
        st.integers(0, 2**50),
        _BYTES,
        _BYTES,
        _HEADERS,
    ),
    max_size=20,
)


@given(_RECORDS)
def test_every_record_comes_back_in_its_partitions_order(records: list[PackedRecord]):
    """One blob a topic and partition, in the row of its last record, with its records in their order."""
    columns = Columns(*map(list, zip(*records, strict=True))) if records else Columns(*([[]] * 7))
    blobs = pack(columns)
    assert len(blobs) == len(records)
    places = {(record.topic, record.partition) for record in records}
    assert sum(blob is not None for blob in blobs) == len(places)
    for row, blob in enumerate(blobs):
        if blob is None:
            continue
        last = records[row]
        run = [r for r in records if (r.topic, r.partition) == (last.topic, last.partition)]
        assert unpack(blob) == run
        assert run[-1] == last


def test_the_forwarders_header_is_last_again():
    """Flink hands out headers as a map; operators look for the forwarder's at the end."""
    headers = [(HEADER, b"place"), ("trace", None)]
    (blob,) = pack(Columns(["t"], [0], [1], [2], [None], [b"v"], [headers]))
    assert blob is not None
    assert unpack(blob)[0].headers == (("trace", b""), (HEADER, b"place"))
