"""Which rows are labelled and when the labels come."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.backtest.labels import Chooser, Judged, Queue
from infra.backtest.learners.protocol import Seen
from infra.backtest.plan import Choice, Delay, parse_delay, parse_drifts
from infra.backtest.row import Row
from schemas.errors import Fatal

SEEN = Seen({}, {}, {})


def judged(number: int, at_s: float) -> Judged:
    """Return a judged row that waits for its label."""
    return Judged(Row(number, at_s, {}, "a"), SEEN, "a", fair=True)


@given(st.integers(0, 20))
def test_a_delay_in_rows_is_that_many_rows(delay):
    """The label of row n comes after row n + delay was judged, and before the next is."""
    queue = Queue(Delay(rows=delay))
    came: dict[int, int] = {}
    for number in range(60):
        queue.put(judged(number, float(number)))
        came |= {late.row.number: number for late in queue.due(number + 1, float(number))}
    assert came == {number: number + delay for number in range(60 - delay)}


def test_a_delay_in_event_time_waits_for_the_clock():
    """However many rows there are within it."""
    queue = Queue(Delay(seconds=300.0))
    for number in range(10):
        queue.put(judged(number, 0.1 * number))
    assert not queue.due(10, 299.9)
    assert [late.row.number for late in queue.due(11, 300.25)] == [0, 1, 2]


@pytest.mark.parametrize("choice", list(Choice))
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.7])
def test_no_more_labels_than_were_allowed(choice, rate):
    """A chosen budget is never overdrawn; a random one is met within chance; the seed repeats both."""
    chance = random.Random(3)
    sure = [chance.random() for _ in range(4000)]
    chosen = []
    for _ in range(2):
        chooser = Chooser(rate, choice, seed=5)
        chosen.append([chooser.wants(confidence)[0] for confidence in sure])
    assert chosen[0] == chosen[1]
    used = sum(chosen[0]) / len(sure)
    assert used <= rate + (0.03 if choice is Choice.RANDOM else 0.0)
    assert used >= 0.5 * rate or rate > 0.3


def test_without_a_model_rows_are_drawn_at_random():
    """Nobody is unsure before there is a model, and its first labels are those of all rows."""
    chooser = Chooser(0.2, Choice.UNCERTAIN, seed=5)
    wanted = [chooser.wants(None) for _ in range(4000)]
    assert 0.18 < sum(want for want, _ in wanted) / 4000 < 0.22
    assert all(fair for _, fair in wanted)


def test_the_unsure_are_chosen():
    """Rows that the learner is least sure of are labelled far more often than others."""
    chance = random.Random(3)
    chooser = Chooser(0.2, Choice.UNCERTAIN, seed=5)
    asked = {True: [0, 0], False: [0, 0]}
    for _ in range(4000):
        unsure = chance.random() < 0.1
        wanted, _ = chooser.wants(chance.uniform(0.4, 0.6) if unsure else chance.uniform(0.9, 1.0))
        asked[unsure][0] += wanted
        asked[unsure][1] += 1
    assert asked[True][0] / asked[True][1] > 5 * asked[False][0] / asked[False][1]


def test_options_are_read_or_refused(tmp_path):
    """Rows or event time for a delay; numbers or a file of them for drifts."""
    assert parse_delay("500") == Delay(rows=500) and parse_delay("5m") == Delay(seconds=300.0)
    assert parse_delay("").none
    listed = tmp_path / "drifts.txt"
    listed.write_text("40000\n20000\n")
    assert parse_drifts("20000,40000") == parse_drifts(str(listed)) == (20000, 40000)
    with pytest.raises(Fatal, match="neither a row number nor a file"):
        parse_drifts("nowhere.txt")
    with pytest.raises(Fatal, match="--label-delay"):
        parse_delay("soon")
