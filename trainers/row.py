"""One event to learn from, as every part of training has it."""

from datetime import datetime

import msgspec

from schemas.record import Coordinates


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One event to learn from; `label` is empty where there is none, `event` says where the event lies.

    `target` is the true number that a regression learns; it has no label then.
    """

    source: str
    id: str
    time: datetime
    event: Coordinates
    label: str = ""
    text: str = ""
    values: dict[str, float] = {}
    target: float | None = None
