"""The fingerprint table: exact, compact, expiring, and indifferent to how keys are distributed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams.operators.fingerprints import FingerprintTable, words_of


def random_words(count: int, seed: int) -> NDArray[np.uint64]:
    """Return random fingerprints, (count, 2)."""
    return words_of(np.random.default_rng(seed).bytes(16 * count))


@pytest.mark.parametrize("count", [0, 1, 1000, 200_000])
@pytest.mark.parametrize("expected", [0, 200_000])
def test_it_holds_what_was_added_and_nothing_else(count, expected):
    """No false answer either way, at no more than 36 bytes each once it has grown."""
    added, others = random_words(count, 3), random_words(5000, 4)
    table = FingerprintTable(expected)
    for bucket, part in enumerate(np.array_split(added, 17)):
        table.add(part, bucket)
    assert len(table) == count
    assert table.contains(added).all()
    assert not table.contains(others).any()
    assert sum(map(len, table.packed().values())) == 16 * count
    if count > 1000:
        assert table.size_bytes / count < 36


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 40)), max_size=30),
    st.integers(0, 1000),
    st.integers(0, 65_535),
)
@settings(deadline=None)
def test_against_a_dictionary(steps, expected, start):
    """Adding, expiring, sweeping and repacking agree with a dictionary, bucket numbers turning over."""
    table, model, at, bucket = FingerprintTable(expected), {}, 0, start
    pool = random_words(20_000, 9)
    for count, ahead in steps:
        bucket += ahead
        table.expire(bucket - 16)
        table.sweep(8)
        words = pool[at : at + count]
        table.add(words, bucket)
        model.update(dict.fromkeys(range(at, at + count), bucket))
        at += count
    live = np.array([model[key] >= bucket - 16 for key in range(at)], dtype=bool)
    assert (table.contains(pool[:at]) == live).all()
    assert not table.contains(pool[at : at + 500]).any()
    packed = {key for part in table.packed().values() for key in np.frombuffer(part, "V16").tolist()}
    assert packed == {row.tobytes() for row in pool[:at][live]}


def test_colliding_and_zero_fingerprints_are_kept_apart():
    """Keys that share a half, and the all-zero one, are told apart."""
    one = b"".join((i << 64 | 5).to_bytes(16, "little") for i in range(100))
    other = b"".join((5 << 64 | i << 40).to_bytes(16, "little") for i in range(1, 300))
    words = words_of(one + other + bytes(16))
    table = FingerprintTable()
    table.add(words[:200], 7)
    table.add(words[200:], 8)
    assert table.contains(words).all()
    assert not table.contains(words_of((301 << 64 | 5).to_bytes(16, "little"))).any()


def test_a_key_added_many_times_does_not_fill_the_table():
    """A changelog that names one key a thousand times costs a row or two."""
    table, word = FingerprintTable(), random_words(1, 5)
    for _ in range(10):
        table.add(np.repeat(word, 100, axis=0), 3)
    assert table.contains(word).all()
    assert table.size_bytes < 10_000


def test_expired_keys_give_their_memory_back():
    """After the window a swept table is small, and its keys are unknown before that."""
    table, words = FingerprintTable(), random_words(100_000, 6)
    table.add(words, 1)
    before = table.size_bytes
    table.expire(2)
    assert not table.contains(words).any()
    table.sweep(1000)
    assert len(table) == 0
    assert table.size_bytes < before / 20


def test_a_released_table_is_given_back_in_parts():
    """Giving back ends, a few pages at a time."""
    table = FingerprintTable()
    table.add(random_words(100_000, 6), 1)
    assert not table.release(5)
    assert table.release(1000)
