"""The truth about an event, as it arrives late and out of order on `labels`."""

from schemas.record import Contract, Moment


class Label(Contract, frozen=True, kw_only=True):
    """Ground truth for the event `(source, id)`; `by` says who said so. The newest `labelled_at` wins."""

    stream: str
    source: str
    id: str
    label: str
    labelled_at: Moment
    by: str = ""
