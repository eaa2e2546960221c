"""The truth about an event, as it arrives late and out of order on `labels`."""

from datetime import datetime

from schemas.record import Contract


class Label(Contract, frozen=True, kw_only=True):
    """Ground truth for the event `(source, id)`; `by` says who said so. The newest `labelled_at` wins."""

    stream: str
    source: str
    id: str
    label: str
    labelled_at: datetime
    by: str = ""
