"""The answer cache: exact, bounded, and never in the way."""

import time

from hypothesis import given
from hypothesis import strategies as st

from serving.cache import Cache, Circuit, Local, Shared, Worth, keys
from serving.predictor import Answer

ONE, OTHER = "0" * 64, "1" * 64
NOWHERE = "redis://127.0.0.1:1/0"  # port 1 is never listened on


@given(st.lists(st.text(), unique=True, max_size=30))
def test_keys_tell_texts_and_releases_apart(texts: list[str]) -> None:
    """No two texts share a key, nor one text under two releases; the same pair always has the same."""
    both = keys(ONE, texts) + keys(OTHER, texts)
    assert len(set(both)) == 2 * len(texts)
    assert keys(ONE, texts) == both[: len(texts)]


@given(st.lists(st.integers(0, 20)), st.integers(1, 8))
def test_the_local_memory_is_bounded_and_right(numbers: list[int], size: int) -> None:
    """It never holds more than its size, and what it returns is what was put."""
    local = Local(size)
    for number in numbers:
        local.put(b"%d" % number, Answer(str(number), float(number)))
        assert local.get(b"%d" % number) == Answer(str(number), float(number))
        assert len(local) <= size


def test_the_least_recently_used_goes_first() -> None:
    """A key that was asked for outlives one that was not."""
    local = Local(2)
    for name in (b"a", b"b"):
        local.put(name, Answer("x", 1.0))
    local.get(b"a")
    local.put(b"c", Answer("x", 1.0))
    assert local.get(b"b") is None
    assert local.get(b"a") is not None


def test_the_circuit_waits_longer_after_each_failure_and_forgets() -> None:
    """1 s, 2 s, 4 s, … up to a minute; one success and it starts at 1 s again."""
    circuit = Circuit()
    assert [circuit.failed(0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert not circuit.allows(59.9)
    assert circuit.allows(60.0)
    circuit.worked()
    assert circuit.failed(0.0) == 1


def test_where_nothing_repeats_few_lookups_are_made() -> None:
    """Keys that were never known lately: one look-up in sixteen. As soon as some are known again: each."""
    worth = Worth()
    for _ in range(600):
        if worth.pays(1):
            worth.found(1, 0)
    assert sum(worth.pays(1) for _ in range(160)) == 10
    assert all(worth.pays(600) for _ in range(20)), "of many keys one may be known"
    for _ in range(8):
        worth.found(64, 64)
    assert all(worth.pays(1) for _ in range(20))


async def test_without_redis_the_local_memory_goes_on_at_once() -> None:
    """An unreachable Redis costs one short try, then nothing until the circuit closes."""
    cache = Cache(Local(), Shared(NOWHERE))
    wanted = keys(ONE, ["a", "b"])
    assert await cache.get(wanted) == {}
    cache.put({wanted[0]: Answer("x", 0.5)})
    began = time.perf_counter()
    for _ in range(100):
        assert await cache.get(wanted) == {wanted[0]: Answer("x", 0.5)}
    assert time.perf_counter() - began < 0.5
    await cache.close()
