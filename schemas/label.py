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
