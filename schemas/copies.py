"""What the cleaning stage writes on `events.copies`: how many events it dropped as copies, of how many."""

from schemas.record import Contract, Moment


class Copies(Contract, frozen=True, kw_only=True):
    """Of a stream's events in one batch of a partition of `events.raw`: accepted, and dropped as copies.

    `at` is when the batch was cleaned.
    """

    stream: str
    partition: int
    accepted: int
    dropped: int
    at: Moment
