"""What could not be used, on `events.dead`: the original bytes and why, so that it can be sent again."""

from schemas.errors import Reason
from schemas.record import Contract, Coordinates, Moment


class Dead(Contract, frozen=True, kw_only=True):
    """One rejected record. `original` and `headers` are as received (base64 in JSON)."""

    reason: Reason
    message: str
    field: str = ""
    stage: str
    raw: Coordinates
    rejected_at: Moment
    stream: str = ""
    source: str = ""
    id: str = ""
    key: bytes | None = None
    original: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
