"""Text normalisation: what is removed, what stays, and that twice is once."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.operators.text import MAX_TEXT, normalise, percent_decoded


@given(st.text(max_size=200), st.sampled_from(["NFC", "NFKC", None]))
def test_normalising_is_idempotent(text, form):
    """A normalised text stays as it is."""
    once = normalise(text, form)
    assert normalise(once, form) == once
    assert form is None or unicodedata.is_normalized(form, once)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in once)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\tb\n c", "a b c"),
        ("  x ", "x"),
        ("nu\x00ll\u200b", "null"),
        ("e\u0301", "é"),
        ("<b>' OR 1=1 --", "<b>' OR 1=1 --"),
        ("", ""),
    ],
)
def test_examples(text, expected):
    """Control and invisible characters go, punctuation and markup stay."""
    assert normalise(text) == expected


def test_long_text_is_cut():
    """Text beyond the bound is cut, not kept."""
    assert len(normalise("x" * (MAX_TEXT + 5))) == MAX_TEXT
    assert len(normalise("é " * MAX_TEXT)) <= MAX_TEXT


def test_the_compatible_form_folds_what_only_looks_different():
    """Full-width signs and ligatures become plain ones."""
    assert normalise("Ａｄｍｉｎ ﬁle①", "NFKC") == "Admin file1"
    assert normalise("e\u0301", None) == "e\u0301"


def test_the_cut_leaves_no_half_of_a_word():
    """A long text ends between two words."""
    text = normalise("x" * (MAX_TEXT - 5) + " bob@example.com")
    assert text == "x" * (MAX_TEXT - 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("%27", "'"), ("%2527", "'"), ("100%", "100%"), ("%zz%41", "%zzA"), ("%C3%A9", "é"), ("%ff", "\ufffd")],
)
def test_percent_decoding(text, expected):
    """Escapes are undone up to twice; what is no escape stays."""
    assert percent_decoded(text) == expected


@given(st.text(max_size=100))
def test_percent_decoding_takes_any_text(text):
    """No text breaks it, and text without a percent sign is left alone."""
    decoded = percent_decoded(text)
    if "%" not in text:
        assert decoded == text
