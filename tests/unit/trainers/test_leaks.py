"""Planted leaks are found, dropped and counted; what is no leak stays."""

import random
import string
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.record import Coordinates
from trainers.dataset import split
from trainers.leaks import Known, Leaks, fingerprint
from trainers.row import Row

AT = datetime(2026, 3, 1, tzinfo=UTC)


def _row(number: int, text: str = "", values: dict[str, float] | None = None) -> Row:
    place = Coordinates("events.clean", 0, number)
    return Row(source="shop", id=str(number), time=AT, event=place, label="a", text=text, values=values or {})


def _texts(seed: int, count: int) -> list[str]:
    """Return texts that have nothing in common."""
    chance = random.Random(seed)
    return ["".join(chance.choices(string.ascii_lowercase, k=60)) for _ in range(count)]


TRAINING = [_row(number, text) for number, text in enumerate(_texts(1, 300))]
TEST = [_row(1000 + number, text) for number, text in enumerate(_texts(2, 150))]


def test_unrelated_texts_are_no_leaks() -> None:
    """Nothing is found where nothing was planted."""
    assert Known(TRAINING).without_leaks(TEST) == (TEST, Leaks())


def test_planted_copies_are_found() -> None:
    """The same content under other ids, and near copies with a word of sixty characters changed."""
    copies = [_row(2000 + number, TRAINING[number].text) for number in range(12)]
    near = [_row(3000 + number, "xyz" + TRAINING[50 + number].text[3:]) for number in range(9)]
    planted = [*TEST[:70], *copies, *TEST[70:], *near]
    kept, leaks = Known(TRAINING).without_leaks(planted)
    assert leaks == Leaks(content=12, near=9)
    assert kept == TEST


def test_equal_readings_are_a_leak_whatever_their_order() -> None:
    """Readings have no near copies: a machine that stands still sends nearly the same all day."""
    training = [_row(0, values={"cpu": 1.0, "fan": 2.0})]
    test = [_row(1, values={"fan": 2.0, "cpu": 1.0}), _row(2, values={"cpu": 1.0, "fan": 2.001})]
    kept, leaks = Known(training).without_leaks(test, enough=1)
    assert [row.id for row in kept] == ["2"]
    assert leaks == Leaks(content=1)


def test_a_stream_that_repeats_itself_keeps_enough_to_judge_by() -> None:
    """Where nearly all is a copy, the mildest leaks fill the test up, no content twice before all are in."""
    copies = [_row(2000 + number, TRAINING[number % 60].text) for number in range(200)]  # trained on once
    near = [_row(3000 + number, "xyz" + TRAINING[100 + number].text[3:]) for number in range(20)]
    kept, leaks = Known(TRAINING).without_leaks([*copies, *TEST[:10], *near])
    assert len(kept) == 100
    assert leaks == Leaks(content=200, near=20, kept=90)
    assert {row.id for row in (*TEST[:10], *near)} <= {row.id for row in kept}
    assert len({fingerprint(row) for row in kept}) == 90


def test_an_event_that_comes_twice_counts_once() -> None:
    """Stored twice, or both recent and remembered: it is in one part only, with the recent label."""
    rows = [_row(number, text) for number, text in enumerate(_texts(3, 200))]
    again = [msgspec.structs.replace(row, label="b") for row in rows[:30]]
    data = split([*rows, *rows[:5]], again)
    assert data.leaks.identity == 35
    assert not data.old and not data.old_held_out
    names = [row.id for part in data.parts().values() for row in part]
    assert len(names) == len(set(names))


def test_what_the_stream_repeats_all_the_time_stays() -> None:
    """A line that was trained on three times is tested on as often as it comes."""
    often = [_row(5000 + number, "GET /health of the node that everybody asks") for number in range(3)]
    twice = [_row(5100 + number, "GET /reports of last year, which nobody reads") for number in range(2)]
    test = [*TEST, *(_row(6000 + number, often[0].text) for number in range(40)), _row(6100, twice[0].text)]
    like = _row(6200, often[0].text.replace("asks", "ask"))
    kept, leaks = Known([*TRAINING, *often, *twice]).without_leaks([*test, like])
    assert leaks == Leaks(content=1, recurring=41)
    assert [row.id for row in kept] == [row.id for row in (*test, like) if row.id != "6100"]


@given(st.randoms(use_true_random=False), st.integers(0, 40))
def test_what_is_dropped_does_not_hang_on_the_order(chance: random.Random, enough: int) -> None:
    """Rows that come in another order give the same test."""
    rows = [_row(number, f"GET /items/{number % 13} and something longer") for number in range(40)]
    training, test = rows[:20], rows[20:]
    first, leaks = Known(training).without_leaks(test, enough)
    shuffled = chance.sample(test, len(test))
    second, again = Known(chance.sample(training, len(training))).without_leaks(shuffled, enough)
    assert {fingerprint(row) for row in first} == {fingerprint(row) for row in second}
    assert leaks == again


@pytest.mark.parametrize("text", ["", "short", "größer als zwanzig Zeichen, und nicht ASCII"])
def test_short_and_foreign_texts_are_judged(text: str) -> None:
    """A copy is a copy, also where there is too little to compare for likeness."""
    assert Known([_row(1, text)]).without_leaks([_row(2, text)], enough=0)[1].content == 1
