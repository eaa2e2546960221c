from random import Random

import pytest

from infra.demo.attacks import CLASSES, grammar, payload
from infra.demo.grammar import Grammar, number


def test_undefined_names_are_refused() -> None:
    """A rule that uses a name nothing defines is found when the grammar is made, not when it is used."""
    with pytest.raises(ValueError, match="who"):
        Grammar({"start": ["<who> runs"]})


def test_endless_rules_are_refused() -> None:
    """A grammar without an end raises instead of hanging."""
    with pytest.raises(RecursionError):
        Grammar({"start": ["<start>"]}).sentence(Random(1))


def test_terminals_are_written_by_their_function() -> None:
    """A terminal's function writes the text, from the generator that it is given."""
    made = Grammar({"start": ["n=<n>"]}, {"n": number(3, 3)})
    assert made.sentence(Random(1)) == "n=3"


@pytest.mark.parametrize("label", CLASSES)
def test_attacks_vary(label: str) -> None:
    """Of a thousand attacks of a class hardly two are alike, and none is empty."""
    random = Random(5)
    texts = [payload(random, label) for _ in range(1000)]
    assert len(set(texts)) > 900
    assert all(text.strip() for text in texts)


@pytest.mark.parametrize("label", CLASSES)
def test_no_rule_is_left_over(label: str) -> None:
    """No sentence carries a rule's name unexpanded."""
    random = Random(6)
    rules = grammar(label)
    for _ in range(300):
        text = rules.sentence(random)
        assert "<num>" not in text
        assert "<word>" not in text
