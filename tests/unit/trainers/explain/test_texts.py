"""Shares of words are complete, find a planted word, and are the same each time, on real small encoders."""

import time
from typing import NamedTuple

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from schemas.config import Learn
from tests.unit.trainers import tiny
from trainers.backbone import Backbone
from trainers.dataset import Array
from trainers.explain.explanation import explained
from trainers.explain.texts import Attributed, integrated, tokens
from trainers.finetune import tune
from trainers.perceptron import Perceptron, text_head

KINDS = {"person": tiny.PEOPLE, "place": tiny.PLACES, "thing": tiny.THINGS}


class Learnt(NamedTuple):
    """A small encoder with a head that tells persons, places and things apart."""

    backbone: Backbone
    head: Perceptron
    tokenizer: Tokenizer

    def why(self, text: str, label: str, steps: tuple[int, ...] = (32, 64, 128, 256)) -> Attributed:
        """Return what each word adds to a label."""
        return integrated(self.backbone, self.head, self.tokenizer, text, label, steps)


@pytest.fixture(scope="module", params=["bert", "distilbert", "roberta"])
def learnt(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """One that was trained on four hundred sentences."""
    torch.set_num_threads(1)
    folder = tiny.build(tmp_path_factory.mktemp(request.param), request.param)
    backbone, tokenizer = Backbone.load(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows, labels = tiny.texts(1, 400), tuple(KINDS)
    vectors = np.concatenate([_vector(backbone, tokenizer, row.text) for row in rows])
    torch.manual_seed(7)
    head = text_head(backbone.width, labels, vectors)
    truth = np.array([labels.index(row.label) for row in rows])
    tune(head, vectors, truth, Learn(epochs=15), deadline=time.monotonic() + 60)
    return Learnt(backbone, head, tokenizer)


def _vector(backbone: Backbone, tokenizer: Tokenizer, text: str) -> Array:
    ids = torch.tensor([tokenizer.encode(text).ids])
    with torch.inference_mode():
        return np.asarray(backbone(ids, torch.ones_like(ids)))


def test_the_shares_add_up_to_what_is_explained(learnt):
    """Sum and difference of outputs agree within the bound, and the output is the network's own."""
    for row in tiny.texts(3, 6):
        found = learnt.why(row.text, row.label)
        assert found.error <= found.bound
        assert found.bound == pytest.approx(max(0.01, 0.02 * abs(found.output - found.baseline)))
        assert abs(found.shares.sum() - (found.output - found.baseline)) == pytest.approx(
            found.error, abs=1e-4
        )
        logits = torch.from_numpy(learnt.head.answer(_vector(learnt.backbone, learnt.tokenizer, row.text)))
        assert found.output == pytest.approx(float(explained(learnt.head, logits, row.label)), abs=1e-4)
        assert [word.name for word in found.words] == row.text.split()


def test_the_words_that_make_the_class_come_first(learnt):
    """Of a verb and two words of a kind, one of the latter says most for the kind, nearly always."""
    rows = tiny.texts(5, 30)
    firsts = []
    for row in rows:
        found = learnt.why(row.text, row.label)
        firsts.append(found.words[int(found.shares.argmax())].name in KINDS[row.label])
    assert np.mean(firsts) >= 0.9


def test_few_steps_are_doubled_until_the_bound_holds(learnt):
    """One step misses where the network bends; steps are added, and what is missed is said."""
    rough = learnt.why("visited anna lagos", "person", steps=(1,))
    assert rough.steps == 1
    found = learnt.why("visited anna lagos", "person", steps=(1, 2, 4, 8, 16, 32, 64, 128, 256))
    assert found.error <= found.bound and (found.steps > 1) is (rough.error > rough.bound)


def test_the_same_text_is_explained_alike_and_special_tokens_say_nothing(learnt):
    """Bit by bit the same; what the tokenizer adds stands at both ends of the way."""
    first, again = (learnt.why("painted oslo teapot", "place") for _ in range(2))
    assert np.array_equal(first.shares, again.shares)
    there = tokens(learnt.tokenizer, "painted oslo teapot")
    assert there.ids[0] == there.blanked[0] and there.ids[-1] == there.blanked[-1]
    assert (there.ids[1:-1] != there.blanked[1:-1]).all()


def test_what_lies_beyond_the_last_token_is_no_reason(learnt):
    """Words that were cut off are not among the words that were read."""
    learnt.tokenizer.enable_truncation(6)
    try:
        there = tokens(learnt.tokenizer, "visited anna sold lagos liked paris found oslo")
    finally:
        learnt.tokenizer.no_truncation()
    assert 0 < len(there.words) < 8 and len(there.ids) == 6


def test_a_text_without_words_has_an_output_and_no_reasons(learnt):
    """Nothing is walked, nothing fails."""
    found = learnt.why("  ", "thing")
    assert found.words == [] and found.steps == 0 and np.isfinite(found.output)
