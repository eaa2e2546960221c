"""The truth about an event, as it arrives late and out of order on `labels`."""

from math import isfinite

from schemas.record import Contract, Moment


class Label(Contract, frozen=True, kw_only=True):
    """Ground truth for the event `(source, id)`; `by` says who said so. The newest `labelled_at` wins.

    `label` is a class's name; for a model of regression the true number, in decimal.
    """

    stream: str
    source: str
    id: str
    label: str
    labelled_at: Moment
    by: str = ""


def number_of(label: str) -> float | None:
    """Return the finite number that a label says; None where it says none."""
    try:
        number = float(label)
    except ValueError:
        return None
    return number if isfinite(number) and "_" not in label else None


def is_right(truth: str, label: str, score: float, tolerance: float | None) -> bool | None:
    """Tell whether an answer is right: the label, or a number (its `score`) within `tolerance` of the truth.

    None where the truth says no number and the answer is one: then nothing is known.
    """
    if tolerance is None:
        return label == truth
    number = number_of(truth)
    return None if number is None else abs(score - number) <= tolerance
