"""Alerts in the terminal: explained for every signal, and no text of an event steers it."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from infra.cli.explain import explained
from schemas.drift import DriftAlert, Signal
from streams.alerts.explanation import Over
from tests.unit.streams.alerts.alert import alert
from tests.unit.streams.alerts.page.raised import older, one, recovered


def printed(raised: DriftAlert, over: Over | None = None) -> str:
    """Return what a terminal that is wide and has no colours shows."""
    console = Console(file=io.StringIO(), width=160, color_system=None)
    console.print(explained(raised, over))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (Signal.ERROR, ("CRITICAL", "errors by class", "all classes", "4 of 8 wrong")),
        (Signal.INPUT, ("what moved", "numbers, before and after", "Wasserstein", "█")),
        (Signal.PREDICTION, ("class, before and after", "sqli")),
        (Signal.ESTIMATE, ("accuracy that the scores let expect", "87.0%")),
        (Signal.QUALITY, ("which ones", "wrong_type")),
        (Signal.SILENCE, ("silent sources", "shop")),
    ],
)
def test_every_signal_is_explained(signal, says):
    """What a real watch raised, with runbook, id and what happens now."""
    raised = one(signal)
    text = printed(raised)
    for said in (*says, raised.id, raised.runbook, "by itself", raised.signal.value):
        assert said in text, said


def test_what_newer_watches_say_is_shown_and_so_is_the_end():
    """Tokens and the joint test have their places; what is over says since when and why."""
    text = printed(one(Signal.INPUT))
    assert "tokens" in text and "onload" in text and "all features together" in text
    assert "tokens" not in printed(older(one(Signal.INPUT)))
    notice = recovered(Signal.INPUT)
    text = printed(one(Signal.INPUT), Over(notice.raised_at, notice.summary))
    assert " OVER " in text and "everything is back under its threshold" in text


@given(st.text(max_size=30) | st.sampled_from(["[bold]x[/bold]", "[/]", "\x1b[2J", "a\r\nb", "\u202e"]))
@settings(max_examples=80, deadline=None)
def test_no_text_steers_the_terminal(text):
    """Neither control signs nor rich's markup are acted on."""
    evidence = {
        "tokens": [{"token": f"t{text}", "before": 0.1, "after": 0.2}],
        "classes": {text: {"errors": 1, "labels": 2, "rate": 0.5}},
        "features": [{"feature": f"f{text}", "psi": 1.0, "threshold": 0.2}],
        "examples": [{f"x{text}": text}],
    }
    shown = printed(alert(summary=text, stream=text, evidence=evidence))
    assert not any(sign in shown for sign in "\x1b\r\x00\u202e")
    if text == "[bold]x[/bold]":
        assert shown.count(text) >= 5
