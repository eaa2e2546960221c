"""What is said of an explanation, wherever it is shown: consumes it, produces its lines and their order."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from streams.alerts.page.text import number, percent, shown
from trainers.explain.explanation import LOG_ODDS, SCORE, VALUE, Explanation, Reason

_RANKED: Final = 20
_CLASSES: Final = 4


class Told(NamedTuple):
    """Which event was explained, and what was true of it; both empty where that is not known."""

    event: str = ""
    label: str = ""


def headline(found: Explanation) -> str:
    """Return what was answered, in a few words."""
    name = f"{found.model} {found.version}"
    if found.unit == SCORE:
        return f"{shown(name)} calls it {found.answer}: score {number(found.score)}, anomalous from 1 on"
    if found.unit == VALUE:
        return f"{shown(name)} answers {shown(found.answer)}"
    said = f"{shown(name)} answers {shown(found.answer)}, {percent(found.score)}"
    return said if found.label == found.answer else f"{said}; why not {shown(found.label)}?"


def facts(found: Explanation, told: Told) -> Iterator[tuple[str, str]]:
    """Yield what else is to be known, as name and text."""
    if told.event:
        yield "event", shown(told.event, 300)
    if told.label:
        yield "true label", shown(told.label)
    others = sorted(found.probabilities.items(), key=lambda item: -item[1])[:_CLASSES]
    if others:
        yield "classes", ", ".join(f"{shown(label)} {percent(share)}" for label, share in others)
    total = sum(reason.share for reason in found.reasons)
    base = "with every word masked" if found.text else "for training rows on average"
    parts = "words" if found.text else "readings"
    missed = f"completeness error {found.error:.2g}, bound {found.bound:.2g}"
    name = f"{found.unit} of {shown(found.label)}" if found.unit == LOG_ODDS else found.unit
    yield name, f"{found.output:.3f} = {found.baseline:.3f} {base} {total:+.3f} by the {parts} ({missed})"
    yield "method", shown(found.method, 300)
    hidden = len(found.reasons) - _RANKED
    if hidden > 0:
        yield "not shown", f"{hidden} that add less; --json has them all"


def ranked(found: Explanation) -> list[Reason]:
    """Return the reasons that add or take away most."""
    return sorted(found.reasons, key=lambda reason: -abs(reason.share))[:_RANKED]


def most(found: Explanation) -> float:
    """Return the largest share of all, more than nothing."""
    return max([1e-9, *(abs(reason.share) for reason in found.reasons)])


def numbered(reason: Reason) -> tuple[str, str]:
    """Return a reading's value and what is usual."""
    return "missing" if reason.value is None else f"{reason.value:.6g}", f"{reason.usual or 0.0:.6g}"
