"""Exact deduplication: at most once within the window, bounded, rebuilt from its deltas."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.operators.dedupe import Dedupe, fingerprint
from streams.operators.fingerprints import FingerprintSet, words_of


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


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 40)), max_size=200), st.integers(0, 8))
@settings(deadline=None)
def test_at_most_once_within_the_window(arrivals, hot_limit):
    """Against a plain dictionary: nothing passes twice within the window, all passes again well after it."""
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
        if age > 100.0 + 2 * dedupe.bucket_s:
            assert new
        if new:
            accepted_at[identity] = now


@given(st.lists(st.integers(0, 300), max_size=300), st.sampled_from([10, 100_000]))
@settings(deadline=None)
def test_deltas_and_snapshot_rebuild_the_state(identities, hot_limit):
    """State restored from the changelog, or from a snapshot, knows exactly what the original knows."""
    original, now, deltas = Dedupe(3600.0, hot_limit=hot_limit), 5_000_000.0, []
    for at, identity in enumerate(identities):
        original.advance(now + at)
        accept(original, fingerprint("s", str(identity)))
        if at % 7 == 0:
            deltas.append((original.bucket_s, *original.delta()))
    deltas.append((original.bucket_s, *original.delta()))
    keys = [fingerprint("s", str(identity)) for identity in range(301)]
    for source in (deltas, original.snapshot()):
        copy = Dedupe(3600.0, hot_limit=hot_limit)
        copy.advance(now + len(identities))
        copy.restore(source)
        assert [accept(copy, key) for key in keys] == [i not in set(identities) for i in range(301)]


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


@pytest.mark.parametrize("count", [0, 1, 1000, 200_000])
def test_the_compact_set_is_exact(count):
    """It holds what was added and nothing else, at no more than 46 bytes each once it has grown."""
    rng = np.random.default_rng(3)
    added, others = (
        rng.integers(0, 2**63, (count, 2), dtype=np.uint64),
        rng.integers(0, 2**63, (500, 2), dtype=np.uint64),
    )
    known = FingerprintSet()
    for part in np.array_split(added, 7):
        known.add(part)
    known.add(added[:10])
    assert len(known) == count
    assert known.contains(added).all()
    assert not known.contains(others).any()
    assert len(known.packed()) == 16 * count
    if count > 1000:
        assert known.size_bytes / count < 46


def test_the_compact_set_takes_colliding_and_zero_fingerprints():
    """Fingerprints that want the same slot, and the all-zero one, are kept apart."""
    words = words_of(b"".join((i << 64 | 5).to_bytes(16, "little") for i in range(300)) + bytes(16))
    known = FingerprintSet()
    known.add(words)
    assert len(known) == 301
    assert known.contains(words).all()
    assert not known.contains(words_of((301 << 64 | 5).to_bytes(16, "little"))).any()


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
