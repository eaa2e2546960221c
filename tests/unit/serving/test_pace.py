"""How many events a transaction takes: many that the cache knows, few that the model has to read."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.batches import Batches
from serving.pace import LEAST, Pace

MOST = Batches().predict


def test_known_events_come_in_large_batches_and_new_ones_in_small() -> None:
    """It doubles while batches are answered soon, and is back at its least after one that was not."""
    pace = Pace(MOST)
    sizes = []
    for _ in range(6):
        sizes.append(pace.rows)
        pace.took(pace.rows, 0.01)
    assert sizes == [64, 128, 256, 512, 512, 512]
    pace.took(512, 0.6)
    assert pace.rows == LEAST


def test_a_quiet_stream_says_nothing_about_large_batches() -> None:
    """A few events answered soon do not make the next batch large; half of two partitions' do."""
    pace = Pace(MOST)
    pace.took(5, 0.001)
    assert pace.rows == LEAST
    pace.took(LEAST // 2, 0.001)
    assert pace.rows == 2 * LEAST


@given(st.lists(st.tuples(st.integers(1, 2000), st.floats(0.0, 5.0))))
def test_it_stays_within_its_bounds(batches: list[tuple[int, float]]) -> None:
    """Whatever batches there were."""
    pace = Pace(MOST)
    for rows, seconds in batches:
        pace.took(rows, seconds)
        assert LEAST <= pace.rows <= MOST


def test_a_changed_bound_holds_at_once():
    """A smaller one cuts what was grown, and nothing grows beyond it; a larger one lets it grow on."""
    pace = Pace(MOST)
    for _ in range(10):
        pace.took(pace.rows, 0.001)
    pace.at_most(32)
    for _ in range(3):
        assert pace.rows == 32
        pace.took(pace.rows, 0.001)
    pace.at_most(64)
    pace.took(pace.rows, 0.001)
    assert pace.rows == 64


def test_what_something_urgent_waits_for_is_brief() -> None:
    """Eight rows at first, more while they take a moment, eight again once they take longer."""
    pace = Pace.brief(MOST)
    assert pace.rows == 8
    pace.took(8, 0.01)
    pace.took(16, 0.01)
    assert pace.rows == 32
    pace.took(32, 0.04)
    assert pace.rows == 32
    pace.took(32, 0.07)
    assert pace.rows == 8
