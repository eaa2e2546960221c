"""An explanation in the terminal: ranked bars, and no word of an event steers it."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from infra.explained.terminal import explained
from infra.explained.told import Told
from tests.unit.infra.explained.found import READINGS, of_text
from trainers.explain.explanation import Explanation


def printed(found: Explanation, told: Told | None = None, *, colours: bool = False) -> str:
    """Return what a wide terminal shows."""
    file = io.StringIO()
    console = Console(
        file=file, width=160, color_system="truecolor" if colours else None, force_terminal=colours
    )
    console.print(explained(found, told or Told()))
    return file.getvalue()


def test_words_are_ranked_and_coloured():
    """The strongest first with the longest bar; colours are there where the terminal has them."""
    found = of_text("GET", "search", "onload", unread="more")
    text = printed(found, Told("shop/h-1", "xss"))
    ranked = text[text.index("for it") :]
    assert ranked.index("onload") < ranked.index("search") < ranked.index("GET")
    for said in (
        "requests 2 answers xss, 98.0%",
        "GET search onload more",
        "shop/h-1",
        "+3.000",
        "█" * 24,
        "note: ",
    ):
        assert said in text
    assert "\x1b[" in printed(found, colours=True) and "\x1b" not in text


def test_another_answer_is_asked_for():
    """What is explained is said where it is not what was answered."""
    from msgspec.structs import replace

    assert "why not normal?" in printed(replace(of_text("GET"), label="normal"))


def test_readings_have_their_values():
    """Beside what is usual; a missing one is called so."""
    text = printed(READINGS)
    for said in ("reading", "usually", "2000", "missing", "anomaly score", "for training rows on average"):
        assert said in text


@given(
    st.text(min_size=1, max_size=30)
    | st.sampled_from(["[bold]x[/bold]", "[/]", "\x1b[2J", "a\r\nb", "\u202e"])
)
@settings(max_examples=80, deadline=None)
def test_no_text_steers_the_terminal(text):
    """Neither control signs nor rich's markup are acted on."""
    shown = printed(of_text(text, "end", unread=text), Told(text, text))
    assert not any(sign in shown for sign in "\x1b\r\x00\u202e")
    if text == "[bold]x[/bold]":
        assert shown.count(text) >= 4
