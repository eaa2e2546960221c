"""The page of an explanation: words shaded by what they add, the event escaped, nothing loaded or run."""

import re
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from infra.explained.page import page
from infra.explained.told import Told
from tests.unit.infra.explained.found import READINGS, of_text

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "&amp;",
    "</style>",
    "\x1b[2J\u202e",
]
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "h1", "p", "mark", "span"),
    *("table", "thead", "tbody", "tr", "th", "td", "code", "i", "dl", "dt", "dd"),
}
ATTRIBUTES = {"lang", "charset", "http-equiv", "content", "name", "class", "style", "title"}


class Seen(HTMLParser):
    """What a browser makes of a page: its tags, its attributes, and its text outside the style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.attributes, self.styles, self.text = set[str](), set[str](), list[str](), list[str]()
        self._open = [""]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.styles += [value or "" for name, value in attrs if name == "style"]
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open[-1] != "style":
            self.text.append(data)


@given(
    st.lists(st.text(min_size=1, max_size=20) | st.sampled_from(HOSTILE), max_size=5),
    st.sampled_from(HOSTILE),
)
@settings(max_examples=80, deadline=None)
def test_nothing_of_the_event_is_markup(words, other):
    """Only the page's own elements are there, styled by numbers alone, and the policy forbids the rest."""
    written = page(of_text(*words, unread=other), Told(event=other, label=other))
    seen = Seen(written)
    assert seen.tags <= TAGS and seen.attributes <= ATTRIBUTES
    assert all(re.fullmatch(r"--strength:[\d.]+|width:[\d.]+%", style) for style in seen.styles)
    assert not any(sign in written for sign in "\x1b\u202e\x00")
    assert "default-src 'none'" in written


def test_words_are_shaded_by_their_part_of_the_strongest():
    """The strongest for the answer is full, one against it has the other colour, unread text is marked."""
    written = page(of_text("alpha", "<script>", unread="beyond"), Told("shop/h-1", "xss"))
    assert '<mark class="for" style="--strength:1.000" title="+2.000">&lt;script&gt;</mark>' in written
    assert '<mark class="against" style="--strength:0.500" title="-1.000">alpha</mark>' in written
    assert '<span class="unread" title="not read">beyond</span>' in written
    text = " ".join(Seen(written).text)
    for said in ("requests 2 answers xss, 98.0%", "shop/h-1", "INT8 made the difference", "3.900 = 1.000"):
        assert said in text


def test_readings_are_ranked_with_their_values():
    """The first is what adds most; a missing one is called so; a score is called a score."""
    written = page(READINGS, Told())
    text = " ".join(Seen(written).text)
    assert text.index("fan_rpm") < text.index("cpu") < text.index("memory_mb")
    for said in ("host 1 calls it anomaly: score 4.1", "300", "2000", "missing", "raises the score"):
        assert said in text
