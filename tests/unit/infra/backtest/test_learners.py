"""Each learner learns; the pool is as good as its best; nothing peeks at a label."""

import random
from itertools import islice

import pytest

from infra.backtest.learners.choice import maker
from infra.backtest.learners.context import Context
from infra.backtest.learners.persistence import Persistence
from infra.backtest.learners.protocol import Learner, Seen, best
from infra.backtest.learners.vectors import Vectors
from infra.backtest.learners.words import Words
from infra.backtest.plan import ModelName
from infra.backtest.row import Row


def table(count: int, seed: int = 1) -> list[Row]:
    """Return rows whose label hangs on two numbers and a category."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        x, y, w = chance.random(), chance.random(), chance.choice(["on", "off"])
        label = "p" if (x > 0.5 if w == "on" else y > 0.5) else "n"
        rows.append(Row(number, float(number), {"x": x, "y": y, "w": w}, label))
    return rows


def accuracy(learner: Learner, rows: list[Row], last: int) -> float:
    """Return the accuracy on the last rows of one pass, each row answered before it is learnt."""
    context, right = Context(), []
    for row in rows:
        seen = context.see(row)
        right.append(best(learner.shares(seen))[0] == row.label)
        learner.learn(seen, row.label)
        context.told(row, row.label)
    return sum(right[-last:]) / last


@pytest.mark.parametrize(
    ("model", "count", "reached"),
    [(ModelName.AUTO, 1000, 0.85), (ModelName.TREE, 5000, 0.8), (ModelName.MLP, 240, 0.7)],
)
def test_a_learner_learns_and_repeats_itself(model, count, reached):
    """From one pass over the rows, with the same figure the second time."""
    rows = table(count)
    first = accuracy(maker(model, 3, seed=1)(), rows, count // 3)
    assert first >= reached
    if model is not ModelName.MLP:
        assert accuracy(maker(model, 3, seed=1)(), rows, count // 3) == first


def test_shares_are_a_distribution():
    """Of every learner, whatever it has learnt."""
    rows = table(200)
    for model in (ModelName.AUTO, ModelName.TREE, ModelName.MLP):
        learner, context = maker(model, 3, seed=1)(), Context()
        assert best(learner.shares(context.see(rows[0])))[0] == ""
        for row in rows:
            seen = context.see(row)
            shares = learner.shares(seen)
            assert not shares or sum(shares.values()) == pytest.approx(1.0, abs=1e-6)
            learner.learn(seen, row.label)


def test_the_context_knows_only_labels_that_came():
    """What is seen of a row does not hang on its own label or on one that has not come."""
    rows = table(40)
    for changed in range(20, 40):
        one, other = Context(), Context()
        for row in rows[: changed + 1]:
            lied = Row(row.number, row.at_s, row.values, "other") if row.number == changed else row
            assert one.see(row) == other.see(lied)
            if row.number + 5 < changed:
                one.told(row, row.label)
                other.told(lied, lied.label)


def test_persistence_learns_how_long_a_label_holds():
    """Labels in runs of ten: the newest holds with nine in ten when it is fresh, with less when it is old."""
    learner = Persistence()
    for number in range(2000):
        label = "ab"[number // 10 % 2]
        age = 1 if number % 2 else 7
        learner.learn(Seen({}, {}, {}, last="ab"[(number - age) // 10 % 2], age=age), label)
    fresh = learner.shares(Seen({}, {}, {}, last="a", age=1))["a"]
    old = learner.shares(Seen({}, {}, {}, last="a", age=7))["a"]
    assert old < fresh and fresh == pytest.approx(0.9, abs=0.12)


def test_new_words_are_learnt_at_once():
    """A label that was never seen is answered after a handful of its texts."""
    learner = Words()
    for number in range(300):
        learner.learn(Seen({}, {}, {}, text=f"boots size {number % 12}"), "norm")
        learner.learn(Seen({}, {}, {}, text=f"1' or {number}={number} --"), "sqli")
    for number in range(5):
        learner.learn(Seen({}, {}, {}, text=f"<script>alert({number})</script>"), "xss")
    assert best(learner.shares(Seen({}, {}, {}, text="<script>alert(document)</script>")))[0] == "xss"
    assert best(learner.shares(Seen({}, {}, {}, text="boots size 4")))[0] == "norm"


def test_vectors_keep_the_newest_rows():
    """A ring: the oldest row gives way, a new category is a new column, old rows have 0 in it."""
    vectors = Vectors(3)
    for number, word in enumerate(islice("ababc", 5)):
        vectors.add({"x": float(number), "w": word}, word)
    assert vectors.width == 4
    assert sorted(vectors.rows[:, 0].tolist()) == [2.0, 3.0, 4.0]
    assert sorted(vectors.classes) == ["a", "b", "c"]
    assert not vectors.read({"w": "never"}, grow=False).any()
