"""Markup out of text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.operators.html import stripped

MARKUP = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            "</",
            "<b",
            "<script>",
            "</script",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "&lt;",
            "&",
            '"',
            "'",
            " a",
            "=",
            "<p>",
            "<?",
            "<!",
            "x",
        ]
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>bold</b>ly <i>it</i>", "boldly it"),
        ("<p>one<p>two<br/>three", " one two three"),
        ("a < b and c > d", "a < b and c > d"),
        ("List<String> of <nil>", "List<String> of <nil>"),
        ("hi<script>alert('<b>')</script >ho", "hi ho"),
        ("hi<style>p{", "hi "),
        ("<!DOCTYPE html><!-- c -->x<!-- open", "  x "),
        ("<div onclick='a>b'>k</div>", " k "),
        ("<img src=x onerror=alert(1)>after", " after"),
        ("<my-tag>q</my-tag>", " q "),
        ("&lt;b&gt; R&amp;D &#64; &foo;", "<b> R&D @ &foo;"),
        ("<![CDATA[d]]>e", "de"),
        ("<a href='x", "<a href='x"),
        ("plain", "plain"),
    ],
)
def test_examples(text, expected):
    """Tags, scripts, styles and comments go, entities are read, what is no markup stays."""
    assert stripped(text) == expected


@given(st.text(max_size=80) | MARKUP)
def test_malformed_markup_never_fails(text):
    """Whatever is sent, text comes out, without a script in it."""
    read = stripped(text)
    if "&" not in text and "<![" not in text:
        assert "<script>" not in read
        assert stripped(read).count("<") <= read.count("<")


@given(st.text(st.characters(exclude_characters="<&"), max_size=80))
def test_text_without_markup_stays(text):
    """No sign of markup, no change."""
    assert stripped(text) == text


@pytest.mark.parametrize(
    "piece", ["<", "<a ", "<!--", "<a b='", "<![CDATA[", "<script></scrip", "<svg>", "</", "<?"]
)
def test_hostile_markup_takes_no_time(piece):
    """60 kB of what never ends take less than half a second."""
    begun = time.process_time()
    stripped(piece * (60_000 // len(piece)))
    assert time.process_time() - begun < 0.5
