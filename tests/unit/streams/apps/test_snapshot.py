"""Local snapshots: what is committed is read back exactly, and nothing damaged or foreign is."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.apps.snapshot import Snapshot, SnapshotError, SnapshotWriter

LOG = "dedupe.log/0"
EVERYTHING = {"a": 0.0, "b": 0.0}


def record(stream: str, bucket: int, packed: bytes) -> bytes:
    """Return a record of the log."""
    return msgspec.msgpack.encode([(stream, 10.0, bucket, packed)])


def writer_of(folder, log=LOG) -> SnapshotWriter:
    """Return an open writer, complete from the beginning."""
    writer = SnapshotWriter(folder, log)
    writer.open()
    if writer.offset < 0:
        writer.reset(0.0)
    return writer


def contents(folder) -> dict[tuple[str, int], bytes]:
    """Return what a reader finds."""
    snapshot = Snapshot.load(folder, LOG)
    assert snapshot is not None
    found: dict[tuple[str, int], bytes] = {}
    for stream, _, bucket, packed in snapshot.entries(EVERYTHING):
        found[stream, bucket] = found.get((stream, bucket), b"") + packed
    return found


additions = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(90, 99), st.integers(0, 5)), min_size=1, max_size=6
    ),
    max_size=6,
)


@given(additions, st.sets(st.integers(0, 5)), st.sampled_from(["close", "crash"]))
@settings(deadline=None, max_examples=60)
def test_what_was_committed_is_read_back(tmp_path_factory, rounds, reopened, ending):
    """Over many rounds, with writers that end in order or midway, a reader finds what was committed."""
    folder, offset, rng = tmp_path_factory.mktemp("snapshot"), 0, random.Random(1)
    model: dict[tuple[str, int], bytes] = {}
    writer = writer_of(folder)
    for number, added in enumerate(rounds):
        if number in reopened:
            if ending == "crash":
                writer.add([(offset + 1, record("a", 95, rng.randbytes(160)))])
            writer.close()
            writer = writer_of(folder)
        for stream, bucket, count in added:
            packed = rng.randbytes(16 * count)
            offset += 1
            writer.add([(offset, record(stream, bucket, packed))])
            model[stream, bucket] = model.get((stream, bucket), b"") + packed
        writer.commit(0.0)
        assert contents(folder) == {key: packed for key, packed in model.items() if packed}
        assert writer.offset == offset
    writer.close()


def test_expired_buckets_leave_the_disk(tmp_path):
    """A bucket that ended before the given moment is neither read nor kept."""
    writer = writer_of(tmp_path)
    writer.add([(1, record("a", 5, bytes(16))), (2, record("a", 50, bytes(32)))])
    writer.commit(0.0)
    assert len(list(tmp_path.glob("*.fp"))) == 2
    writer.add([(3, record("a", 50, bytes(16)))])
    writer.commit(100.0)
    writer.close()
    assert len(list(tmp_path.glob("*.fp"))) == 1
    assert contents(tmp_path) == {("a", 50): bytes(48)}
    snapshot = Snapshot.load(tmp_path, LOG)
    assert snapshot is not None
    assert snapshot.manifest.since_s == 100.0
    assert snapshot.sizes({"a": 0.0}) == {"a": 48}
    assert snapshot.sizes({"a": 600.0}) == {}


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "manifest", "short manifest", "pickle"])
def test_a_damaged_snapshot_is_refused_and_begun_anew(tmp_path, damage):
    """Any change of a byte or a file is noticed by readers; a writer starts from nothing."""
    writer = writer_of(tmp_path)
    writer.add([(1, record("a", 5, random.Random(2).randbytes(1600)))])
    writer.commit(0.0)
    writer.close()
    file, manifest = next(tmp_path.glob("*.fp")), tmp_path / "manifest"
    match damage:
        case "flip":
            file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
        case "cut":
            file.write_bytes(file.read_bytes()[:-16])
        case "remove":
            file.unlink()
        case "manifest":
            manifest.write_bytes(manifest.read_bytes()[:-1] + b"\x00")
        case "short manifest":
            manifest.write_bytes(manifest.read_bytes()[:9])
        case "pickle":
            manifest.write_bytes(b"\x80\x04N.")
    with pytest.raises(SnapshotError):
        Snapshot.load(tmp_path, LOG)
    writer = writer_of(tmp_path)
    assert writer.offset == -1
    assert not list(tmp_path.glob("*.fp"))
    writer.close()


def test_a_snapshot_of_another_log_is_refused(tmp_path):
    """The log's name is part of the snapshot."""
    writer = writer_of(tmp_path)
    writer.add([(1, record("a", 5, bytes(16)))])
    writer.commit(0.0)
    writer.close()
    with pytest.raises(SnapshotError, match=r"of dedupe\.log/0"):
        Snapshot.load(tmp_path, "dedupe.log/1")


def test_one_writer_at_a_time(tmp_path):
    """A second writer is refused until the first has let go; a folder without a snapshot is none."""
    assert Snapshot.load(tmp_path, LOG) is None
    first, second = writer_of(tmp_path), SnapshotWriter(tmp_path, LOG)
    with pytest.raises(SnapshotError, match="another process"):
        second.open()
    second.close()
    first.close()
    writer_of(tmp_path).close()
