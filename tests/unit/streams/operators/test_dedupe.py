"""Exact deduplication: at most once within the window, bounded, rebuilt from its deltas."""

import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.operators.dedupe import Dedupe, fingerprint, fingerprints


def accept(dedupe: Dedupe, key: bytes) -> bool:
    """Add a fingerprint unless it was seen; tell whether it was new."""
    if dedupe.seen(key) or key in dedupe.seen_long_ago([key]):
        return False
    dedupe.add(key)
    return True


def test_source_and_id_cannot_be_shifted_into_one_another():
    """("ab", "c") and ("a", "bc") are two identities."""
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint("1:a", "") != fingerprint("", "1:a")


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=9)), max_size=9))
def test_a_batch_has_the_fingerprints_of_its_events(identities):
    """The batch function and the single one agree, so that state written with either is understood."""
    assert fingerprints(identities) == [fingerprint(source, event_id) for source, event_id in identities]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), max_size=200), st.integers(0, 8))
@settings(deadline=None)
def test_at_most_once_within_the_window(arrivals, hot_limit):
    """Against a dictionary: nothing passes twice within the window, all passes again a bucket after it."""
    dedupe = Dedupe(100.0, hot_limit=hot_limit)
    accepted_at: dict[int, float] = {}
    now = 1_000_000.0
    for step, identity in arrivals:
        now += step
        dedupe.advance(now)
        new = accept(dedupe, fingerprint("s", str(identity)))
        dedupe.delta()
        age = now - accepted_at.get(identity, -1e9)
        if age <= 100.0:
            assert not new
        if age > 100.0 + dedupe.bucket_s:
            assert new
        if new:
            accepted_at[identity] = now


@given(st.lists(st.tuples(st.sampled_from([0, 1, 7, 120, 4000]), st.integers(0, 300)), max_size=200))
@settings(deadline=None)
def test_the_length_is_what_is_remembered(arrivals):
    """`len` counts the keys that are not forgotten, wherever they lie."""
    dedupe = Dedupe(100.0, hot_limit=3)
    buckets: dict[int, int] = {}
    now = 1_000_000.0
    for step, identity in arrivals:
        now += step
        dedupe.advance(now)
        bucket = int(now / dedupe.bucket_s)
        if accept(dedupe, fingerprint("s", str(identity))):
            buckets[identity] = bucket
        dedupe.delta()
        assert len(dedupe) == sum(b >= bucket - 16 for b in buckets.values())


@given(
    st.lists(st.integers(0, 300), max_size=300),
    st.sampled_from([10, 100_000]),
    st.integers(1, 40),
    st.integers(0, 6000),
)
@settings(deadline=None)
def test_deltas_and_snapshot_rebuild_the_state(identities, hot_limit, portion, later_s):
    """State restored from the changelog in portions, or from a snapshot, knows what the original knows."""
    original, now, deltas = Dedupe(3600.0, hot_limit=hot_limit), 5_000_000.0, []
    for at, identity in enumerate(identities):
        original.advance(now + 9 * at)
        accept(original, fingerprint("s", str(identity)))
        deltas.append((original.bucket_s, *original.delta()))
    end = now + 9 * len(identities) + later_s
    original.advance(end)
    keys = [fingerprint("s", str(identity)) for identity in range(301)]
    known = [original.seen(key) or key in original.seen_long_ago([key]) for key in keys]
    for source in (deltas, original.snapshot()):
        copy = Dedupe(3600.0, hot_limit=hot_limit)
        copy.advance(end)
        restored = sum(copy.restore(source[at : at + portion]) for at in range(0, len(source), portion))
        assert restored == len(copy) == len(original)
        assert [not accept(copy, key) for key in keys] == known


def test_expired_deltas_are_left_out():
    """What lies beyond the window is not restored."""
    dedupe = Dedupe(16.0)
    dedupe.advance(1000.0)
    dedupe.restore([(1.0, 900, fingerprint("s", "old")), (1.0, 995, fingerprint("s", "new"))])
    assert len(dedupe) == 1
    assert dedupe.seen(fingerprint("s", "new"))


def test_a_changed_window_keeps_what_it_still_covers():
    """Deltas written under another window are placed by their time."""
    dedupe = Dedupe(160.0)
    dedupe.advance(1000.0)
    dedupe.restore([(1.0, 950, fingerprint("s", "a")), (1.0, 100, fingerprint("s", "b"))])
    assert dedupe.seen(fingerprint("s", "a"))
    assert not dedupe.seen(fingerprint("s", "b"))


def test_restored_older_deltas_expire_although_newer_ones_came_first():
    """What is forgotten does not depend on the order in which portions of the changelog came."""
    dedupe = Dedupe(16.0)
    dedupe.advance(1000.0)
    dedupe.restore([(1.0, 999, fingerprint("s", "new"))])
    dedupe.restore([(1.0, 990, fingerprint("s", "old"))])
    dedupe.advance(1008.0)
    assert dedupe.seen(fingerprint("s", "new"))
    assert not dedupe.seen(fingerprint("s", "old"))


def test_many_fingerprints_go_cold_and_are_still_known():
    """Beyond the dictionary's limit everything is still found, and forgotten after the window."""
    dedupe, rng = Dedupe(1000.0, hot_limit=1000), random.Random(5)
    keys = [rng.randbytes(16) for _ in range(5000)]
    for at in range(0, 5000, 500):
        dedupe.advance(10_000.0 + at / 10)
        for key in keys[at : at + 500]:
            dedupe.add(key)
        dedupe.delta()
    assert len(dedupe) == 5000
    assert {key for key in keys if dedupe.seen(key)} | dedupe.seen_long_ago(keys) == set(keys)
    dedupe.advance(13_000.0)
    assert len(dedupe) == 0


def test_a_long_stream_keeps_its_size_and_no_call_is_long():
    """Over three windows of steady traffic the table stays as large as one window needs, without a pause."""
    dedupe, rng, batch = Dedupe(1600.0), random.Random(7), 4000
    size, longest_s, now = [], 0.0, 1_000_000.0
    for _ in range(150):
        keys = [rng.randbytes(16) for _ in range(batch)]
        began = time.thread_time()
        now += 32.0  # 50 batches a window
        dedupe.advance(now)
        assert not dedupe.seen_long_ago(keys)
        longest_s = max(longest_s, time.thread_time() - began)
        for key in keys:
            dedupe.add(key)
        began = time.thread_time()
        dedupe.delta()
        longest_s = max(longest_s, time.thread_time() - began)
        size.append(dedupe.size_bytes)
    assert size[-1] < 1.5 * size[60]
    assert size[-1] < 45 * len(dedupe)
    assert longest_s < 0.1
