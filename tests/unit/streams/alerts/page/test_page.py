"""The page of an alert: every signal explained, nothing from elsewhere, no text that becomes markup."""

from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.drift import DriftAlert, Signal
from streams.alerts.explanation import Over, explain
from streams.alerts.page.document import page
from streams.alerts.page.parts import parts
from streams.alerts.page.text import duration, html, number, shown
from streams.drift.novelty import Novel
from streams.drift.wording import Subject, novelty_alert
from tests.unit.streams.alerts.alert import NOW, alert
from tests.unit.streams.alerts.page.raised import older, one, recovered

ATTACKS = (
    '"><script>alert(1)</script>',
    "' onload='x",
    "</style><img src=x onerror=y>",
    "<!--",
    "&lt;",
    "\u202ex\x1b[2J",
)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = (
    "features", "tokens", "metric", "before", "classes", "joint", "details", "sources", "examples", "first",
    "cause", "error_rate", "accuracy", "ratio",
)  # fmt: skip


class Structure(HTMLParser):
    """The elements of a page, with the names of their attributes; all of them are closed in order."""

    VOID = ("meta", "br", "rect", "line")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text.append(data)


def words(text: str) -> str:
    """Return what one reads on a page."""
    return " ".join(" ".join(Structure(text).text).split())


def hostile(text: str) -> DriftAlert:
    """Return an alert in which everything that an event can reach says `text`."""
    shares: dict[str, Any] = {"before": [0.5, 0.5, 0.0], "after": [0.1, 0.2, 0.7]}
    return alert(
        "a1",
        stream=text,
        model=text,
        detector=text,
        summary=text,
        runbook=text,
        evidence={
            "error_rate": {"before": 0.1, "after": 0.4},
            "classes": {text: {"errors": 4, "labels": 9, "rate": 0.4}},
            "features": [
                {"feature": f"f{text}", "psi": 2.0, "threshold": 0.2, "histogram": {"bins": bins, **shares}}
                for bins in ([f"c{text}", "b", "d"], ["≤ 1", f"≤ {text}", "> 1"])
            ],
            "tokens": [{"token": f"t{text}", "before": 0.0, "after": 0.3}],
            "details": {text: 7},
            "sources": [{"source": text, "last": text}],
            "examples": [{"source": text, "id": text, f"x{text}": text}],
            "first": {"topic": text, "partition": 0, "offset": 1},
            "cause": f"c{text}",
        },
    )


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (
            Signal.ERROR,
            ("Error rate: 2.0% → 50.0%", "CRITICAL", "Errors by class", "4 of 8 wrong", "tunes the model"),
        ),
        (Signal.INPUT, ("What comes in has changed", "numbers", "brackets", "Distributions", "Wasserstein")),
        (Signal.PREDICTION, ("answers have changed", "class", "sqli", "changes nothing by itself")),
        (Signal.ESTIMATE, ("Expected accuracy: 87.0% → 16.7%", "300 labels calibrated")),
        (Signal.QUALITY, ("Events rejected: 0.0% → 100.0%", "wrong_type", "500")),
        (Signal.SILENCE, ("Sources stopped sending", "Silent sources", "shop", "2 min")),
    ],
)
def test_every_signal_is_explained(signal, says):
    """What a real watch raised, in words, with the events where it began and what to do."""
    raised = one(signal)
    made = page(raised)
    read = words(made).replace("critical", "CRITICAL")
    for said in (*says, raised.id, raised.runbook, raised.summary[:60], "UTC", "headrace drift ack"):
        assert said in read, said


def test_what_newer_watches_say_is_shown_and_what_older_ones_leave_out_is_not_missed():
    """Tests of a feature, tokens and the joint test have their places; without them the page is whole."""
    raised = one(Signal.INPUT)
    rich, plain = words(page(raised)), words(page(older(raised)))
    for said in ("Jensen-Shannon 0.6", "Tokens", "onload", "0.0% → 60.8%", "All features together"):
        assert said in rich and (said == "0.0% → 60.8%" or said not in plain)
    assert "PSI 4.88 (0.25)" in plain and "Wasserstein" in plain and "Distributions" in plain
    assert "Same cause as " + "c" * 20 in words(page(alert(evidence={"cause": "c" * 20})))
    assert "What moved" not in words(page(alert(evidence={})))


def test_a_reading_that_is_new_is_drawn_beside_those_before_it():
    """With its source and name; one without readings before it is shown all the same."""
    for before in ([20.0, 21.5, 20.5], []):
        novel = Novel(
            "plc/<7>", "temp", 95.25, 9.0, 3.0, "value", 1e9, ("events.clean", 0, 7, "plc/7", "1"), before
        )
        raised = novelty_alert(Subject("boiler", "", 0), novel, NOW)
        read = words(page(raised))
        assert "A reading is as it never was" in read and "temp of plc/<7> : 95.2" in read
        assert f"beside the {len(before)} readings before it" in read
        assert page(raised).count('<svg class="course"') == 1


def test_histograms_are_drawn_before_and_after():
    """Each drawn feature has its columns; shares of classes are bars with their names."""
    made = page(one(Signal.INPUT))
    assert made.count('<svg class="plot"') == 6
    assert made.count('<rect class="before"') >= 12 and 'aria-label="numbers: share' in made
    found = explain(one(Signal.PREDICTION).evidence).features
    (answers,) = [feature for feature in found if feature.name == "class"]
    assert answers.histogram is not None and not answers.histogram.numeric
    assert set(answers.histogram.bins) == {"norm", "sqli"}


def test_features_are_ranked_by_their_share_of_the_shift():
    """The shares are of the whole, in the order of the evidence."""
    found = explain(one(Signal.INPUT).evidence).features
    assert sum(feature.contribution for feature in found) == pytest.approx(1.0)
    assert [f.contribution for f in found] == sorted((f.contribution for f in found), reverse=True)


def test_an_alert_that_is_over_says_when_and_why():
    """The recovery notice's time and reason stand above everything, in place of the severity."""
    notice = recovered(Signal.ERROR)
    read = words(page(one(Signal.ERROR), Over(notice.raised_at, notice.summary)))
    assert f"Over since {notice.raised_at:%Y-%m-%d %H:%M:%S} UTC" in read
    assert "the error rate is back where it was" in read and "it is over" in read
    assert "critical" not in read


def test_a_page_stands_alone():
    """Nothing from elsewhere, no script, and a policy that lets none in."""
    made = page(one(Signal.INPUT))
    assert "default-src 'none'" in made and "prefers-color-scheme: dark" in made and "@media print" in made
    assert "<script" not in made and "url(" not in made and " src=" not in made
    tags = {tag for tag, *_ in Structure(made).elements}
    assert not tags & {"script", "img", "iframe", "link", "object", "form", "a"}
    linked = page(alert(runbook="https://x.invalid/run?a=1&b=2"))
    assert 'href="https://x.invalid/run?a=1&amp;b=2"' in linked
    assert "href=" not in page(alert(runbook="javascript:alert(1)"))


@given(st.sampled_from(ATTACKS) | st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_no_text_becomes_markup(text):
    """The elements and attributes are those of an alert with a harmless text, but for scales' labels."""
    attacked, harmless = (
        [one for one in Structure(page(hostile(said))).elements if one != ("text", "x", "y", "text-anchor")]
        for said in (text or "x", "x")
    )
    assert attacked == harmless


@given(st.dictionaries(st.sampled_from(KEYS), JSON), JSON)
@settings(max_examples=200, deadline=None)
def test_no_evidence_breaks_a_page(evidence, inner):
    """Whatever JSON lies in it is shown as far as it has our form; the page is written all the same."""
    evidence |= {"features": [inner, {"feature": "f", "psi": inner, "histogram": inner, "mean": inner}]}
    Structure(page(msgspec.structs.replace(alert(), evidence=evidence)))
    Structure(parts(explain(evidence)))


@given(st.text())
def test_every_character_of_a_shown_text_is_seen(text):
    """No control sign, no turned direction, no line end is left; a longer text is cut."""
    made = shown(text, 50)
    assert not any(sign in made for sign in "\x00\x1b\n\r\u202e\u2028\u200b\ufeff")
    assert len(made) <= 50 * 10 + 1
    assert "<" not in html(text) and '"' not in html(text)


def test_numbers_and_times_are_short():
    """As one says them."""
    assert [duration(s) for s in (0.4, 59, 100, 3600, 90061)] == [
        "0 s",
        "59 s",
        "1 min 40 s",
        "1 h",
        "1 d 1 h",
    ]
    assert [number(v) for v in (None, 0.02481, 4.876, 12345.6)] == ["–", "0.0248", "4.88", "12,346"]
