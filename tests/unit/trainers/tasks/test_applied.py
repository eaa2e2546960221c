"""A trained folder answers a file's rows as the training found it to: by its graph alone."""

import random

import numpy as np
import pytest

from schemas.errors import Fatal
from tests.unit.trainers import tiny
from trainers.recipe import Mode, Recipe
from trainers.tasks.answers import plain
from trainers.tasks.applied import Applied
from trainers.tasks.examples import Question, Readings, Tagged, Text
from trainers.tasks.kinds import Kind
from trainers.tasks.training import Order, Watcher, train
from trainers.tasks.work import Surroundings


def _trained(kind, base, examples, tests, out, features=(), **recipe):
    tuning = Recipe(max_tokens=32, **({"epochs": 2} | recipe))
    order = Order(
        kind=kind, base=base, recipe=tuning, features=tuple(features), window=4, horizon=2, clusters=3
    )  # fmt: skip
    out.mkdir()
    return train(order, examples, tests, out, Surroundings(out.parent / "home"), Watcher()).report


def test_classes_are_those_that_the_training_measured(bases, tmp_path):
    """The share of right answers on the test rows is the report's accuracy; each says how sure it is."""
    tests = tiny.texts(2, 60)
    report = _trained(Kind.CLASSIFICATION, bases["bert"], tiny.texts(1, 120), tests, tmp_path / "out")
    found = list(Applied(tmp_path / "out").answers([Text(row.text) for row in tests]))
    right = np.mean([answer["label"] == row.label for answer, row in zip(found, tests, strict=True)])
    assert right == pytest.approx(report.metrics["accuracy"])
    assert [answer["row"] for answer in found] == list(range(1, 61))
    assert all(1 / 3 < answer["score"] <= 1 for answer in found)


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_tags_are_those_that_the_training_measured(architecture, bases, tmp_path):
    """Each word has a tag, as right as the report says; words that are cut off have none."""
    tests = tiny.tagged(2, 40)
    report = _trained(
        Kind.TOKENS, bases[architecture], tiny.tagged(1, 120), tests, tmp_path / "out",
        mode=Mode.FULL, encoder_rate=2e-3,
    )  # fmt: skip
    model = Applied(tmp_path / "out")
    found = list(model.answers([Tagged(row.words, ("",) * len(row.words)) for row in tests]))
    pairs = [
        (a, b) for row, t in zip(found, tests, strict=True) for a, b in zip(row["tags"], t.tags, strict=True)
    ]
    assert np.mean([a == b for a, b in pairs]) == pytest.approx(report.metrics["accuracy"])
    (cut,) = model.answers([Tagged(("garden",) * 90, ("",) * 90)])
    assert 0 < len(cut["tags"]) == len(cut["words"]) < 90


def test_answers_are_where_they_say(bases, tmp_path):
    """An answer is the context's wording from its start on, as often right as the report says."""
    tests = tiny.questions(2, 30)
    report = _trained(
        Kind.QA, bases["bert"], tiny.questions(1, 120), tests, tmp_path / "out",
        mode=Mode.FULL, encoder_rate=2e-3,
    )  # fmt: skip
    found = list(Applied(tmp_path / "out").answers([Question(q.question, q.context, "", 0) for q in tests]))
    for answer, asked in zip(found, tests, strict=True):
        assert asked.context[answer["start"] :].startswith(answer["answer"])
    exact = [plain(a["answer"]) == plain(q.answer) for a, q in zip(found, tests, strict=True)]
    assert np.mean(exact) == pytest.approx(report.metrics["exact_match"])


def test_a_question_without_room_is_an_error_of_its_row(bases, tmp_path):
    """A row that cannot be answered says why; the others are answered."""
    _trained(Kind.QA, bases["bert"], tiny.questions(1, 60), (), tmp_path / "out", mode=Mode.FULL)
    asked = tiny.questions(3, 2)
    found = list(
        Applied(tmp_path / "out").answers([asked[0], Question("where " * 40, "there", "", 0), asked[1]])
    )
    assert ["error" in answer for answer in found] == [False, True, False]
    assert "leaves no room" in found[1]["error"]


def test_masked_pieces_are_guessed(bases, tmp_path):
    """Each mask has its likeliest pieces, the first one in the text; a text without a mask is refused."""
    texts = [Text(text) for text in tiny.corpus()]
    _trained(Kind.MLM, bases["roberta"], texts, (), tmp_path / "out", mode=Mode.FULL)
    found, refused = Applied(tmp_path / "out").answers([Text("anna <mask> the lamp"), Text("anna")])
    (guesses,) = found["masked"]
    assert len(guesses) == 3
    assert guesses[0]["score"] >= guesses[1]["score"] >= guesses[2]["score"] > 0
    assert guesses[0]["piece"] in found["text"]
    assert "no masked piece" in refused["error"]


def test_texts_are_gone_on_with_as_they_were_learnt(bases, tmp_path):
    """A model that has learnt one sentence by heart writes its end; BLEU and ROUGE of the test say so."""
    sentence = "anna painted the bicycle in oslo and liked the garden ."
    report = _trained(
        Kind.CLM, bases["gpt2"], [Text(sentence)] * 60, [Text(sentence)] * 2, tmp_path / "out",
        mode=Mode.FULL, encoder_rate=5e-3, batch=2, epochs=8,
    )  # fmt: skip
    assert report.before["rougeL"] < 0.5
    assert report.metrics["bleu"] == report.metrics["rougeL"] == 1.0
    (found,) = Applied(tmp_path / "out").answers([Text("anna painted the bicycle")], tokens=12)
    assert sentence.startswith("anna painted the bicycle" + found["written"][:12])


def test_texts_have_the_group_that_is_nearest(bases, tmp_path):
    """The groups of the rows that it was made from are as large as the report says."""
    texts = tiny.texts(1, 60)
    report = _trained(Kind.CLUSTERING, bases["bert"], texts, texts[:5], tmp_path / "out")
    found = list(Applied(tmp_path / "out").answers(texts))
    assert all(answer["distance"] >= 0 for answer in found)
    assert len({answer["cluster"] for answer in found}) <= len(report.model["clusters"]) == 3


def _readings(seed, count):
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        high = number % 2
        values = (chance.gauss(4.0 * high, 1.0), chance.gauss(-4.0 * high, 1.0))
        rows.append(Readings(values, "on" if high else "off", 2 * values[0] + 1))
    return rows


@pytest.mark.parametrize("kind", [Kind.SENSOR_CLASSIFICATION, Kind.REGRESSION, Kind.ANOMALY, Kind.FORECAST])
def test_readings_are_answered(kind, tmp_path):
    """States, numbers, scores and forecasts, one a row; a forecast begins when its window is full."""
    tests = _readings(2, 40)
    report = _trained(kind, "", _readings(1, 200), tests, tmp_path / "out", features=("a", "b"))
    model = Applied(tmp_path / "out")
    assert model.features == ("a", "b")
    found = list(model.answers(tests))
    if kind is Kind.SENSOR_CLASSIFICATION:
        right = np.mean([answer["label"] == row.label for answer, row in zip(found, tests, strict=True)])
        assert right == pytest.approx(report.metrics["accuracy"])
    elif kind is Kind.REGRESSION:
        error = np.mean([abs(a["number"] - row.target) for a, row in zip(found, tests, strict=True)])
        assert error == pytest.approx(report.metrics["mae"], abs=1e-3)
    elif kind is Kind.ANOMALY:
        flagged = np.mean([answer["label"] == "anomaly" for answer in found])
        assert flagged == pytest.approx(report.metrics["flagged"])
    else:
        assert [answer["row"] for answer in found] == list(range(4, 41))
        assert all(answer["ahead"] == 2 for answer in found)
        with pytest.raises(Fatal, match="looks back on 4 rows"):
            list(model.answers(tests[:3]))


def test_a_folder_without_a_training_is_refused(tmp_path):
    """The message says what writes one."""
    with pytest.raises(Fatal, match="headrace train"):
        Applied(tmp_path)
