"""Pieces of words are put together, whatever the tokenizer; what it adds belongs to no word."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.unit.trainers import tiny
from trainers.explain.words import SPECIAL, blank, owners, words


@pytest.fixture(scope="module", params=["bert", "roberta"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Word pieces and byte pairs."""
    folder = tiny.build(tmp_path_factory.mktemp(request.param), request.param)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@given(st.text(max_size=60) | st.text("ab <>num'=(;", max_size=40))
def test_words_are_in_order_and_hold_all_that_is_no_space(text):
    """Nothing is left out, nothing counted twice."""
    found = words(text)
    assert all(text[word.begin : word.end] == word.name for word in found)
    assert all(one.end <= other.begin for one, other in itertools.pairwise(found))
    assert "".join(word.name for word in found) == "".join(text.split())


def test_placeholders_and_signs_are_words():
    """What masking left is one word, and so is a run of signs."""
    text = "q=lamp' or '<num>'='<num>' --"
    assert [w.name for w in words(text)] == [
        "q", "=", "lamp", "'", "or", "'", "<num>", "'='", "<num>", "'", "--",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["anna visited paris .", "anna's  teapöt, unknowable", "a", "  sold", "lamp 🙂 x"]
)
def test_every_piece_belongs_to_the_word_it_begins_in(tokenizer, text):
    """Special tokens to none; every word that was read has a piece."""
    encoding, found = tokenizer.encode(text), words(text)
    owned = owners(encoding, text, found)
    assert owned[0] == owned[-1] == SPECIAL and SPECIAL not in owned[1:-1]
    assert owned[1:-1] == sorted(owned[1:-1])
    assert set(owned[1:-1]) >= {number for number, word in enumerate(found) if word.name.isalpha()}
    for owner, (begin, end) in zip(owned[1:-1], encoding.offsets[1:-1], strict=True):
        if text[begin:end].strip():
            assert found[owner].begin < end and begin < found[owner].end


def test_a_text_of_nothing_has_no_word(tokenizer):
    """Spaces alone are read, but are no reason."""
    assert set(owners(tokenizer.encode("  "), "  ", words("  "))) == {SPECIAL}


def test_the_mask_stands_for_what_is_taken_away(tokenizer):
    """It is the tokenizer's own."""
    assert tokenizer.id_to_token(blank(tokenizer)) in {"[MASK]", "<mask>"}
