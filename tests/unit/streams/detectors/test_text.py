"""Features of texts: new kinds of payloads move them, any text has them."""

from hypothesis import given
from hypothesis import strategies as st

from streams.detectors.text import FEATURES, Vocabulary, features


@given(st.text(max_size=200))
def test_every_text_has_finite_features(text: str) -> None:
    """Any Unicode text gives one finite number per feature, shares within 0 and 1."""
    row = dict(zip(FEATURES, features(text, Vocabulary()), strict=True))
    assert all(
        0.0 <= value <= 1.0 for name, value in row.items() if name not in ("length", "words", "entropy")
    )
    assert 0.0 <= row["entropy"] < 20.0


def test_masks_are_no_brackets() -> None:
    """A masked number counts as a number, not as two angle brackets; markup does not."""
    masked = dict(zip(FEATURES, features("GET /items/<num>", Vocabulary()), strict=True))
    markup = dict(zip(FEATURES, features("GET /items/<script>", Vocabulary()), strict=True))
    assert masked["brackets"] == 0.0 < markup["brackets"]
    assert masked["numbers"] > 0.0 == markup["numbers"]


def test_what_was_learnt_is_not_new() -> None:
    """Words and runs of symbols are new until the vocabulary has seen them, also after a restart."""
    vocabulary = Vocabulary()
    vocabulary.learn("GET /cart?item=teapot")
    vocabulary = Vocabulary(vocabulary.snapshot())
    known = dict(zip(FEATURES, features("GET /teapot?cart=item", vocabulary), strict=True))
    new = dict(zip(FEATURES, features("GET /cart?item=<svg onload=alert()>", vocabulary), strict=True))
    assert known["new_words"] == known["new_symbols"] == 0.0
    assert new["new_words"] > 0.3
    assert new["new_symbols"] > 0.3
